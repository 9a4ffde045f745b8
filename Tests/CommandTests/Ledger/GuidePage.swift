import Foundation
import TestSupport
import Testing

/// `docs/guide/get-your-events-in.md`, whose commands the tests run as they stand there.
struct GuidePage {
    /// A fenced block of shell commands.
    struct Block {
        /// The folder of inputs that the comment before the block names; nil without a comment.
        let name: String?
        /// What it does, where it does not store events: `asks`, or `replaces` the last line of a query.
        let purpose: String?
        let commands: String
    }

    let blocks: [Block]

    init() throws {
        let file = URL(filePath: #filePath).deletingLastPathComponent()
            .appending(path: "../../../docs/guide/get-your-events-in.md")
        var blocks: [Block] = []
        var mark: Substring?
        var commands: [Substring]?
        for line in try String(contentsOf: file, encoding: .utf8).split(
            separator: "\n",
            omittingEmptySubsequences: false
        ) {
            if let inside = commands {
                if line == "```" {
                    blocks.append(Self.block(mark, inside))
                    (mark, commands) = (nil, nil)
                } else {
                    commands = inside + [line]
                }
            } else if line.hasPrefix("<!-- tested: "), line.hasSuffix(" -->") {
                mark = line.dropFirst(13).dropLast(4)
            } else if line.hasPrefix("```") {
                commands = []
            }
        }
        self.blocks = blocks
    }

    /// The commands for one store, in the order of the page.
    func blocks(_ name: String, that purpose: String? = nil) throws -> [String] {
        let found = blocks.filter { $0.name == name && $0.purpose == purpose }.map(\.commands)
        try #require(!found.isEmpty, "the page has no commands for '\(name)'")
        return found
    }

    private static func block(_ mark: Substring?, _ lines: [Substring]) -> Block {
        let words = mark?.split(separator: ", ") ?? []
        return Block(
            name: words.first.map(String.init),
            purpose: words.dropFirst().first.map(String.init),
            commands: lines.joined(separator: "\n")
        )
    }
}

/// What a store holds, what it lets a program read, and the events that come of it.
///
/// A folder of `Tests/Inputs/GetYourEventsIn`. `tables.sql` makes the store's tables, `bin` has programs that print what
/// `kcat`, `aws` or `curl` would, and other files are there for the commands to read.
struct StoreInputs {
    static let root = URL(filePath: #filePath).deletingLastPathComponent()
        .appending(path: "../../Inputs/GetYourEventsIn").standardizedFileURL
    private static let interpreter = "/usr/bin/python3"

    let name: String
    let folder: URL

    init(_ name: String) throws {
        self.name = name
        folder = Self.root.appending(path: name)
        try #require(
            FileManager.default.fileExists(atPath: folder.appending(path: "expected.ndjson").path),
            "there are no inputs for '\(name)'"
        )
    }

    /// The names of all of them.
    static func all() throws -> Set<String> {
        let entries = try FileManager.default.contentsOfDirectory(
            at: root,
            includingPropertiesForKeys: [.isDirectoryKey]
        )
        return Set(
            try entries.filter {
                try $0.resourceValues(forKeys: [.isDirectoryKey]).isDirectory == true
            }
            .map(\.lastPathComponent)
        )
    }

    func text(_ file: String) throws -> String {
        try String(contentsOf: folder.appending(path: file), encoding: .utf8)
    }

    /// Puts the files that commands read into the folder where they run.
    func copyFiles(to target: String) throws {
        let files = FileManager.default
        for file in try files.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil) {
            guard ["ndjson", "json", "jsonocel", "csv"].contains(file.pathExtension) else {
                continue
            }
            let name = file.lastPathComponent
            guard !name.hasPrefix("expected"), !name.hasPrefix("later") else { continue }
            try files.copyItem(
                at: file,
                to: URL(fileURLWithPath: target).appending(path: name)
            )
        }
    }

    /// Compares a ledger with what is expected, by a program of its own.
    func check(_ ledger: String, against expected: String = "expected.ndjson") async throws
        -> ChildProcess.Outcome
    {
        try await ChildProcess.run(
            Self.interpreter,
            [
                Self.root.appending(path: "check.py").path, ledger,
                expected.hasPrefix("/") ? expected : folder.appending(path: expected).path,
            ],
            environment: ["PYTHONIOENCODING": "utf-8"]
        )
    }
}

/// A shell in which the guide's commands run: bash with `pipefail`, as the guide says, in a folder of its own.
struct GuideShell {
    let folder: String
    var ledger: String { "\(folder)/ledger.db" }
    private let path: String
    private let store: String?

    /// - Parameters:
    ///   - folder: An empty folder.
    ///   - inputs: Whose programs come first.
    ///   - store: How the store's database is reached.
    /// - Throws: What making the links throws.
    init(in folder: String, _ inputs: StoreInputs, store: ScratchDatabase? = nil) throws {
        let programs = "\(folder)/programs"
        try FileManager.default.createDirectory(
            atPath: programs,
            withIntermediateDirectories: false
        )
        try FileManager.default.createSymbolicLink(
            atPath: "\(programs)/reprise",
            withDestinationPath: try BuiltProgram("reprise").path
        )
        let usual = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin"
        path = "\(inputs.folder.appending(path: "bin").path):\(programs):\(usual)"
        self.folder = folder
        self.store = store?.url
    }

    /// Runs statements in the store's database as a program of the store's would.
    func load(_ statements: String) async throws {
        let outcome = try await run("psql \"$STORE\" -qX -v ON_ERROR_STOP=1", input: statements)
        try #require(outcome.status == 0, "\(outcome.standardError)")
    }

    /// Runs commands of the guide.
    func run(_ commands: String, input: String = "") async throws -> ChildProcess.Outcome {
        var variables = ["PATH": path]
        variables["STORE"] = store
        // The guide's queries name tables as the store's own programs do, in its usual schema.
        variables["PGOPTIONS"] = "-c search_path=public"
        // Settings of the person who runs the tests must not reach the command.
        let foreign = ProcessInfo.processInfo.environment.keys.filter { $0.hasPrefix("REPRISE_") }
        return try await ChildProcess.run(
            "env",
            ["-C", folder] + foreign.flatMap { ["-u", $0] }
                + ["bash", "-o", "pipefail", "-e", "-c", commands],
            environment: variables,
            input: input
        )
    }
}
