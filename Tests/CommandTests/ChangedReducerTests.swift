import Foundation
import TestSupport
import Testing

@Suite("A changed reducer is deployed beside a running follower")
struct ChangedReducerTests {
    /// `docs/guide/change-a-reducer.md`'s commands, as they stand there, without program and comment.
    private static func commands() throws -> [String] {
        let page = URL(filePath: #filePath).deletingLastPathComponent()
            .appending(path: "../../docs/guide/change-a-reducer.md")
        let lines = try String(contentsOf: page, encoding: .utf8).split(separator: "\n")
        return lines.filter { $0.hasPrefix("./reprise-new ") }.map { line in
            line.dropFirst("./reprise-new ".count).prefix { $0 != "#" }
                .trimmingCharacters(in: .whitespaces)
        }
    }

    /// Another program: the same with a byte more, which the loader passes over.
    static func newProgram(in folder: String) throws -> String {
        let path = "\(folder)/reprise-new"
        let program = URL(filePath: try BuiltProgram("reprise").path)
        try (Data(contentsOf: program) + [0]).write(to: URL(filePath: path))
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: path)
        return path
    }

    /// Gives a program another build id, as the linker does when anything in it has changed (elf(5),
    /// NT_GNU_BUILD_ID, 20 bytes).
    private static func changeBuildID(of program: String) throws {
        var bytes = try Data(contentsOf: URL(filePath: program))
        let header = Data([4, 0, 0, 0, 20, 0, 0, 0, 3, 0, 0, 0]) + Data("GNU\0".utf8)
        let place = try #require(bytes.range(of: header), "The linker gave no build id.")
        bytes[place.upperBound] ^= 1
        try bytes.write(to: URL(filePath: program))
    }

    /// Lets programs be run and not read; the superuser reads everything, so the server's user runs them.
    private static func withoutReading(
        _ programs: [String],
        in folder: String
    ) throws -> [String] {
        let manager = FileManager.default
        for program in programs {
            try manager.setAttributes([.posixPermissions: 0o711], ofItemAtPath: program)
        }
        guard geteuid() == 0 else {
            for program in programs {
                try manager.setAttributes([.posixPermissions: 0o111], ofItemAtPath: program)
            }
            return []
        }
        let owner = try #require(
            ["postgres", "nobody"].first { (name: String) in getpwnam(name) != nil }
        )
        for name in try manager.contentsOfDirectory(atPath: folder) where name.contains(".db") {
            try manager.setAttributes([.posixPermissions: 0o666], ofItemAtPath: "\(folder)/\(name)")
        }
        try manager.setAttributes([.posixPermissions: 0o777], ofItemAtPath: folder)
        return ["setpriv", "--reuid", owner, "--clear-groups"]
    }

    @Test("O1: the four commands of the guide, and the way back")
    func deploy() async throws {
        let commands = try Self.commands()
        try #require(
            commands == ["plan shop", "rebuild shop", "follow shop", "status shop"]
        )
        try await withRebuildScene { scene in
            try scene.appendShop(events: 500, seed: 1)
            let old = RepriseProcess(scene)
            var new = old
            new.program = try Self.newProgram(in: old.folder)
            expect(try await old.run("rebuild shop"), exits: 0)
            let (_, ended) = try await old.withRunning("follow shop") { follower in
                try await scene.database.waitUntil(
                    "it follows",
                    "SELECT FROM reprise.follower WHERE generation = 1"
                )
                expect(try await new.run(commands[0]), exits: 0)
                let before = try await new.run("status shop")
                #expect(before.standardOutput.contains("changed since generation 1"))
                expect(try await new.run(commands[1]), exits: 0)
                try scene.appendShop(events: 300, seed: 2)
                try await follower.waitForText("Another program made generation 2")
            }
            expect(
                ended,
                exits: 3,
                saying: [
                    "Another program made generation 2 of 'shop'",
                    "\nThe live tables are unchanged.\n", "--other-program",
                ]
            )
            let (_, followed) = try await new.withRunning(commands[2]) { follower in
                try await scene.waitUntilCaughtUp()
                let status = try await new.run(commands[3])
                expect(status, exits: 0)
                #expect(!status.standardOutput.contains("changed since"))
                follower.signal(SIGTERM)
            }
            expect(followed, exits: 0)
            expect(
                try await new.run("rollback shop"),
                exits: 0,
                saying: ["Another program made generation 1"]
            )
            expect(try await new.run("follow shop --until-caught-up"), exits: 3)
            expect(try await old.run("follow shop --until-caught-up"), exits: 0)
            expect(try await new.run("follow shop --until-caught-up --other-program"), exits: 0)
            expect(try await old.run("follow shop --until-caught-up"), exits: 3)
        }
    }

    @Test(
        "O1: each program has an identity of its own, however it is started",
        arguments: ["by the loader", "by those who may not read it"]
    )
    func identity(started: String) async throws {
        try await withRebuildScene { scene in
            try scene.appendShop(events: 200, seed: 5)
            var old = RepriseProcess(scene)
            var new = old
            new.program = try Self.newProgram(in: old.folder)
            if started == "by the loader" {
                old.launcher = ["/lib64/ld-linux-x86-64.so.2"]
                old.program = try BuiltProgram("reprise").path
                new.launcher = old.launcher
            } else {
                old.program = "\(old.folder)/reprise-old"
                try FileManager.default.copyItem(
                    atPath: try BuiltProgram("reprise").path,
                    toPath: old.program
                )
                try Self.changeBuildID(of: new.program)
                old.launcher = try Self.withoutReading([old.program, new.program], in: old.folder)
                new.launcher = old.launcher
            }
            expect(try await old.run("rebuild shop"), exits: 0)
            try scene.appendShop(events: 200, seed: 6)
            expect(
                try await new.run("follow shop --until-caught-up"),
                exits: 3,
                saying: ["Another program made generation 1"]
            )
            expect(try await old.run("follow shop --until-caught-up"), exits: 0)
        }
    }

    @Test("O4, O8: what the messages about a ledger advise works in the state in which they come")
    func ledgers() async throws {
        try await withRebuildScene { scene in
            try scene.appendShop(events: 200, seed: 3)
            let reprise = RepriseProcess(scene)
            let (ledger, backup) = (scene.ledgerPath, "\(scene.ledgerPath).backup")
            expect(try await reprise.run("ledger backup \(backup)"), exits: 0)
            try scene.appendShop(events: 200, seed: 4)
            expect(try await reprise.run("rebuild shop"), exits: 0)
            expect(try await reprise.run("rebuild shop --no-swap"), exits: 0)
            // The backup of before.
            for command in ["plan shop", "rebuild shop", "follow shop"] {
                let refused = try await reprise.run("\(command) --ledger \(backup)")
                #expect(refused.status == 3, "\(command): \(refused.standardError)")
                guard !command.hasPrefix("plan") else { continue }
                expect(
                    refused,
                    exits: 3,
                    saying: [
                        "The ledger ends at ", unchanged,
                        "'reprise rebuild shop --allow-older --ledger \(backup)'",
                    ]
                )
            }
            expect(
                try await reprise.run("swap shop --ledger \(backup)"),
                exits: 3,
                saying: [
                    "The ledger ends at ", unchanged,
                    "'reprise rebuild shop --ledger \(backup)'", "--without-ledger",
                ]
            )
            expect(
                try await reprise.run("swap shop --ledger nowhere.db"),
                exits: 4,
                saying: ["There is no ledger at 'nowhere.db'", "--without-ledger"]
            )
            expect(
                try await reprise.run("swap shop --ledger nowhere.db --without-ledger"),
                exits: 0
            )
            expect(try await reprise.run("rollback shop --ledger \(ledger)"), exits: 0)
            expect(
                try await reprise.run(
                    "rebuild shop --ledger \(backup) --allow-older --max-shrink 100"
                ),
                exits: 0
            )
            expect(
                try await reprise.run("follow shop --until-caught-up --ledger \(backup)"),
                exits: 0
            )
            // Another ledger.
            expect(try await reprise.run("ledger create other.db"), exits: 0)
            var other = scene
            other.ledgerPath = "\(reprise.folder)/other.db"
            try other.appendShop(events: 600, seed: 7)
            for command in ["rebuild shop", "follow shop"] {
                expect(
                    try await reprise.run("\(command) --ledger other.db"),
                    exits: 3,
                    saying: [
                        "was made of another ledger than 'other.db'", unchanged,
                        "'reprise rebuild shop --other-ledger --ledger other.db'",
                    ]
                )
            }
            let rebuild = "rebuild shop --ledger other.db --other-ledger --max-shrink 100"
            expect(try await reprise.run("\(rebuild) --no-swap"), exits: 0)
            expect(
                try await reprise.run("swap shop --ledger other.db"),
                exits: 3,
                saying: [
                    "was made of another ledger than 'other.db'", unchanged,
                    "'reprise swap shop --allow-older --ledger other.db'",
                ]
            )
            expect(try await reprise.run("swap shop --ledger other.db --allow-older"), exits: 0)
            expect(try await reprise.run("rollback shop --ledger \(backup)"), exits: 0)
            expect(try await reprise.run(rebuild), exits: 0)
        }
    }
}
