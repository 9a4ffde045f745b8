import Foundation
import TestSupport
import Testing

@Suite("Help")
struct HelpTests {
    static let commands = [
        ["plan"], ["rebuild"], ["swap"], ["rollback"], ["prune"], ["status"], ["ledger"],
        ["ledger", "create"], ["ledger", "import"], ["ledger", "append"], ["ledger", "info"],
        ["ledger", "verify"], ["ledger", "generate"], ["ledger", "show"], ["ledger", "export"],
        ["ledger", "backup"], ["ledger", "upgrade"], ["replay"],
    ]

    private func run(_ arguments: [String]) async throws -> ChildProcess.Outcome {
        try await withScratchFolder { folder in
            try await RepriseProcess(in: folder).run(arguments)
        }
    }

    @Test(
        "each command says what it does and how it can end",
        arguments: commands
    )
    func eachCommand(command: [String]) async throws {
        let outcome = try await run(command + ["--help"])
        expect(outcome, exits: 0)
        #expect(outcome.standardError.isEmpty)
        #expect(outcome.standardOutput.hasPrefix("OVERVIEW: "))
        #expect(outcome.standardOutput.contains("\nExit status: 0 "))
        #expect(outcome.standardOutput.contains("USAGE: reprise \(command.joined(separator: " "))"))
    }

    @Test("without arguments the command prints its help, with every subcommand")
    func root() async throws {
        let (bare, asked) = (try await run([]), try await run(["--help"]))
        expect(bare, exits: 0)
        #expect(bare.standardOutput == asked.standardOutput)
        for command in Self.commands where command.count == 1 {
            #expect(bare.standardOutput.contains("\n  \(command[0]) "))
        }
    }

    @Test("the version is printed")
    func version() async throws {
        let outcome = try await run(["--version"])
        expect(outcome, exits: 0)
        #expect(outcome.standardOutput == "0.1.0\n")
    }

    @Test("each exit status of the help has a section in docs/messages.md")
    func documented() async throws {
        let help = try await run(["--help"]).standardOutput
        let list = try #require(help.components(separatedBy: "Exit status:\n").last)
        let statuses = list.components(separatedBy: "\n").prefix { !$0.isEmpty }
            .compactMap { $0.split(separator: " ").first.map(String.init) }
        #expect(statuses.count == 12)
        let document = try String(
            contentsOf: URL(filePath: #filePath).deletingLastPathComponent()
                .appending(path: "../../docs/messages.md"),
            encoding: .utf8
        )
        for status in statuses {
            #expect(document.contains("\n## \(status) "), "status \(status)")
        }
    }
}
