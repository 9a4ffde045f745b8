import Foundation
import TestSupport
import Testing

@Suite("What a message about a ledger advises, typed in the state in which it comes")
struct LedgerAdviceTests {
    /// What is done to a folder with a ledger, a command, and what it advises.
    struct State: Sendable {
        /// A script of the shell.
        var script = ":"
        let command: String
        let status: Int32
        let advised: String
        var advisedStatus: Int32 = 0
    }

    private static let damage = """
        sqlite3 ledger.db "UPDATE events SET payload = '{}' WHERE sequence = 7"
        """

    @Test(
        "C1: what is advised can be typed as it stands, and ends as it should",
        arguments: [
            State(
                command: "ledger info --ledger none.db",
                status: 4,
                advised: "reprise ledger create none.db"
            ),
            State(
                script: "echo text > text.db",
                command: "ledger info --ledger text.db",
                status: 4,
                advised: "reprise ledger create FILE"
            ),
            State(
                command: "ledger create ledger.db",
                status: 4,
                advised: "reprise ledger info --ledger ledger.db"
            ),
            State(
                command: "ledger create second.db",
                status: 0,
                advised: "reprise ledger import EVENTS.ndjson --ledger second.db"
            ),
            State(
                command: "ledger upgrade ledger.db new.db",
                status: 4,
                advised: "reprise ledger backup COPY --ledger ledger.db"
            ),
            State(
                script: damage,
                command: "ledger backup copy.db",
                status: 4,
                advised: "reprise ledger verify --ledger ledger.db",
                advisedStatus: 1
            ),
            State(
                script: "ln ledger.db other.db",
                command: "ledger append --stream s --type T --data {}",
                status: 4,
                advised: "reprise ledger backup COPY --ledger ledger.db"
            ),
            State(
                script: "sqlite3 ledger.db 'PRAGMA user_version = 99'",
                command: "ledger info",
                status: 4,
                advised: "reprise --version"
            ),
            State(
                command: "ledger show --id nothing",
                status: 1,
                advised: "reprise ledger show --ledger ledger.db --json"
            ),
        ]
    )
    func typed(_ state: State) async throws {
        try await withScratchFolder { folder in
            let reprise = RepriseProcess(in: folder)
            expect(try await reprise.run("ledger create ledger.db"), exits: 0)
            expect(try await reprise.run("ledger generate --events 50 --seed 1"), exits: 0)
            let event = #"{"time":"2026-03-01T09:00:00Z","stream":"s","type":"T","data":{}}"#
            try Data("\(event)\n".utf8)
                .write(to: URL(fileURLWithPath: "\(folder)/EVENTS.ndjson"))
            let script = try await ChildProcess.run(
                "env",
                ["-C", folder, "sh", "-ec", state.script]
            )
            try #require(script.status == 0, "\(script.standardError)")
            let alarm = try await reprise.run(state.command)
            expect(alarm, exits: state.status)
            var night = Operator(of: reprise, wokenBy: alarm, of: nil)
            expect(try await night.typeNext(), exits: state.advisedStatus)
            #expect(night.typed == [state.advised])
        }
    }

    @Test("C1: a ledger that others write is worth the same command again, which is printed whole")
    func again() async throws {
        try await withScratchFolder { folder in
            let reprise = RepriseProcess(in: folder)
            expect(try await reprise.run("ledger create ledger.db"), exits: 0)
            // Holds the lock until it is killed.
            let hold = """
                import signal, sqlite3, sys
                c = sqlite3.connect(sys.argv[1], isolation_level=None)
                c.execute('BEGIN IMMEDIATE')
                print('held', flush=True)
                signal.pause()
                """
            let command = "ledger generate --events 5 --seed 1"
            let (alarm, _) = try await ChildProcess.withRunning(
                "/usr/bin/python3",
                ["-c", hold, "\(folder)/ledger.db"]
            ) { holder in
                try await holder.waitForText("held", on: .output)
                let alarm = try await reprise.run(command)
                holder.signal(SIGKILL)
                return alarm
            }
            expect(alarm, exits: 75)
            var night = Operator(of: reprise, wokenBy: alarm, of: nil)
            expect(try await night.typeNext(), exits: 0)
            #expect(night.typed == ["reprise \(command)"])
        }
    }
}
