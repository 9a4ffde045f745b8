import Foundation
import LedgerKit
import Ledgers
import TestSupport
import Testing

@Suite("A program with mistakes in it")
struct CrashTests {
    @Test(
        "C8: a mistake of the program's author ends each command with status 2 and a sentence",
        arguments: [
            ("name", "Two projections have the name 'trap'."),
            ("table", "The projections 'trap' and 'twin' both have the table 'tally'."),
            ("key", "The table 'typo' has the key 'auther', which is none of its columns: author."),
            ("column", "The table 'twice' declares the column 'author' twice."),
            ("nested", "Projection 'nested' has the table 'other' inside its property 'inside'"),
            ("scheme", "A scheme of ledgers is two letters"),
        ]
    )
    func mistake(word: String, sentence: String) async throws {
        try await withScratchFolder { folder in
            var mistaken = RepriseProcess(in: folder)
            mistaken.program = "mistaken"
            for command in ["rebuild trap", "status", "ledger create new.db"] {
                let outcome = try await mistaken.run(command, environment: ["MISTAKE": word])
                expect(outcome, exits: 2, saying: [sentence, unchanged, "Correct the program"])
            }
        }
    }

    @Test(
        "C8: a reducer that crashes names projection, event, position, stream and type",
        arguments: [
            ("Nothing", "web/1", [SIGILL, SIGTRAP]), ("Overflow", "it's 2", [SIGILL, SIGTRAP]),
            ("Index", "3", [SIGILL, SIGTRAP]), ("Depth", "4", [SIGSEGV, SIGBUS]),
            ("Stray", "-5", [SIGILL, SIGTRAP]),
        ]
    )
    func crash(type: String, id: String, signals: [Int32]) async throws {
        try await withRebuildScene { scene in
            var mistaken = RepriseProcess(scene)
            mistaken.program = "mistaken"
            try scene.append([event("Fine", id: "a 1")])
            expect(try await mistaken.run("rebuild trap"), exits: 0)
            let before = try await scene.rows(of: "public.tally")
            try scene.append([event("Fine", id: "a 2"), event(type, id: id)])
            let position = try #require(try scene.ledger().safePosition())
            // A follower asks for rows first, and folds in another way.
            for command in ["rebuild trap", "follow trap --until-caught-up"] {
                let outcome = try await mistaken.run(
                    command,
                    environment: ["SWIFT_BACKTRACE": "enable=no"]
                )
                #expect(outcome.wasKilled && signals.contains(outcome.status))
                let parts = [
                    "Error: The reducer of 'trap' crashed (SIG", "event     '",
                    "position  \(position)", "stream    '\\x1b[2J/1'", "type      '\(type)'",
                    "\nThe live tables are whole: what was not committed is undone.\n",
                ]
                let text = outcome.standardError
                #expect(parts.allSatisfy { text.contains($0) }, "\(text)")
                try await expectShown(by: text, mistaken, position: "\(position)")
            }
            #expect(try await scene.rows(of: "public.tally") == before)
        }
    }

    @Test("C8: with --json a crash is a document on standard output, too")
    func crashAsJSON() async throws {
        try await withRebuildScene { scene in
            var mistaken = RepriseProcess(scene)
            mistaken.program = "mistaken"
            try scene.append([event("Nothing", id: "a \"b\\c")])
            let quiet = ["SWIFT_BACKTRACE": "enable=no"]
            let outcome = try await mistaken.run("rebuild trap --json", environment: quiet)
            #expect(outcome.wasKilled)
            let failure = try object(outcome)
            #expect(failure["exitStatus"] as? Int == 128 + Int(outcome.status))
            let message = try #require(failure["error"] as? String)
            #expect(message.hasPrefix("The reducer of 'trap' crashed (SIG"))
            #expect(message.hasSuffix("then run the same command again."))
            #expect(outcome.standardError.contains("Error: \(message)\n"))
            let plain = try await mistaken.run("rebuild trap", environment: quiet)
            #expect(plain.standardOutput.isEmpty)
        }
    }

    @Test("C9: messages and help name the team's own program")
    func name() async throws {
        try await withRebuildScene { scene in
            var mistaken = RepriseProcess(scene)
            mistaken.program = "mistaken"
            try scene.append([event("Fine", id: "1")])
            for (line, status) in [
                ("--help", Int32(0)), ("help rebuild", 0), ("rebuild nothing", 2), ("plan trap", 0),
                ("rollback trap", 3), ("rebuild trap", 0), ("rebuild trap --no-swap", 0),
                ("status trap", 0), ("swap trap --generation 9", 3), ("swap trap", 0),
                ("ledger create new.db", 0), ("ledger show --ledger none.db", 4), ("bad", 2),
                ("ledger import none.ndjson", 6),
            ] {
                let outcome = try await mistaken.run(line)
                #expect(outcome.status == status, "\(line): \(outcome.standardError)")
                let text = outcome.standardOutput + outcome.standardError
                let advice =
                    /\breprise (rebuild|swap|rollback|prune|status|plan|follow|ledger|replay|help)/
                #expect(text.firstMatch(of: advice) == nil, "\(line): \(text)")
            }
        }
    }

    @Test("C11: what a reducer prints does not stand in the JSON")
    func printed() async throws {
        try await withRebuildScene { scene in
            var mistaken = RepriseProcess(scene)
            mistaken.program = "mistaken"
            try scene.append([event("Printed", id: "1")])
            let outcome = try await mistaken.run("rebuild trap --json")
            expect(outcome, exits: 0, saying: ["a reducer prints\n"])
            #expect(try object(outcome)["isLive"] as? Bool == true)
        }
    }

    /// Runs the command that the report advises, which shows the event at the position alone.
    private func expectShown(
        by text: String,
        _ mistaken: RepriseProcess,
        position: String
    ) async throws {
        let advice = try #require(text.firstMatch(of: /Run 'mistaken (.*)' to see the event/))
        let shown = try await mistaken.run("\(advice.1) --json")
        expect(shown, exits: 0)
        #expect(shown.standardOutput.split(separator: "\n").count == 1)
        #expect(shown.standardOutput.contains(position))
    }

    private func event(_ type: String, id: String) -> NewEvent {
        NewEvent(id: id, stream: "\u{1b}[2J/1", type: type, data: "{}")
    }
}
