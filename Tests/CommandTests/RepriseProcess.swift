import Foundation
import TestSupport
import Testing

/// The built command, run in a folder of the test's own.
struct RepriseProcess {
    /// The folder it works in; a `reprise.yaml` there is read.
    let folder: String
    /// What it is given as `DATABASE_URL`; nil leaves the variable out.
    var databaseURL: String?
    /// Settings that every command gets by the environment.
    var settings: [String: String] = [:]
    /// The program: this package's, or another one that has the same command, by its name or path.
    var program = "reprise"
    /// A command that begins the program, which follows as its last arguments.
    var launcher: [String] = []

    /// A command beside a scene: its database, and its ledger by the environment.
    init(_ scene: RebuildScene) {
        folder = URL(fileURLWithPath: scene.ledgerPath).deletingLastPathComponent().path
        databaseURL = scene.database.url
    }

    /// A command without a database.
    init(in folder: String) {
        self.folder = folder
    }

    /// Runs it to its end.
    ///
    /// No argument in the line has a space in it.
    func run(
        _ line: String,
        environment: [String: String] = [:],
        input: String = ""
    ) async throws -> ChildProcess.Outcome {
        try await run(Self.words(line), environment: environment, input: input)
    }

    /// Runs it to its end.
    func run(
        _ arguments: [String],
        environment: [String: String] = [:],
        input: String = ""
    ) async throws -> ChildProcess.Outcome {
        try await ChildProcess.run(
            "env",
            try prefix(dropping: environment) + arguments,
            environment: laidOver(environment),
            input: input
        )
    }

    /// Runs it beside `body`.
    func withRunning<Result>(
        _ line: String,
        environment: [String: String] = [:],
        body: (ChildProcess) async throws -> Result
    ) async throws -> (result: Result, outcome: ChildProcess.Outcome) {
        try await ChildProcess.withRunning(
            "env",
            try prefix(dropping: environment) + Self.words(line),
            environment: laidOver(environment),
            body
        )
    }

    /// Runs it on a terminal, by script(1); what it writes to either stream is in the output.
    func runOnTerminal(
        _ line: String,
        environment: [String: String] = [:]
    ) async throws -> ChildProcess.Outcome {
        let command = try (prefix(dropping: environment) + Self.words(line))
            .map { "'\($0)'" }.joined(separator: " ")
        return try await ChildProcess.run(
            "script",
            ["-qec", "env \(command)", "/dev/null"],
            environment: laidOver(["TERM": "xterm"]).merging(environment) { $1 }
        )
    }

    private func laidOver(_ environment: [String: String]) -> [String: String] {
        var all = settings.merging(environment) { $1 }
        if let databaseURL { all["DATABASE_URL"] = all["DATABASE_URL"] ?? databaseURL }
        return all
    }

    private static func words(_ line: String) -> [String] {
        line.split(separator: " ").map(String.init)
    }

    /// Settings of the person who runs the tests must not reach the command.
    private func prefix(
        dropping kept: [String: String]
    ) throws -> [String] {
        let foreign = ProcessInfo.processInfo.environment.keys.filter {
            ($0.hasPrefix("REPRISE_") || $0 == "NO_COLOR"
                || databaseURL == nil && ($0 == "DATABASE_URL" || $0.hasPrefix("PG")))
                && kept[$0] == nil && settings[$0] == nil
        }
        let path = try program.contains("/") ? program : BuiltProgram(program).path
        // nohup(1) in front of the tests has every program below ignore a hang-up.
        return ["--default-signal=HUP", "-C", folder] + foreign.flatMap { ["-u", $0] } + launcher
            + [path]
    }
}

/// Expects how a command ended, and parts of its message in the order in which they come.
func expect(
    _ outcome: ChildProcess.Outcome,
    exits status: Int32,
    saying parts: [String] = [],
    sourceLocation: SourceLocation = #_sourceLocation
) {
    #expect(
        !outcome.wasKilled && outcome.status == status,
        "it ended with \(outcome.status): \(outcome.standardError)",
        sourceLocation: sourceLocation
    )
    var rest = outcome.standardError[...]
    for part in parts {
        guard let range = rest.range(of: part) else {
            Issue.record(
                "“\(part)” is missing in: \(outcome.standardError)",
                sourceLocation: sourceLocation
            )
            return
        }
        rest = rest[range.upperBound...]
    }
}

/// The middle line of a message of a command that changed nothing.
let unchanged = "\nThe live tables are unchanged.\n"

/// An object that a command printed.
func object(_ outcome: ChildProcess.Outcome) throws -> [String: Any] {
    let value = try JSONSerialization.jsonObject(with: Data(outcome.standardOutput.utf8))
    return try #require(value as? [String: Any])
}

/// An array that a command printed.
func array(_ outcome: ChildProcess.Outcome) throws -> [[String: Any]] {
    let value = try JSONSerialization.jsonObject(with: Data(outcome.standardOutput.utf8))
    return try #require(value as? [[String: Any]])
}
