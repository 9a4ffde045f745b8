import Foundation
import TestSupport
import Testing

@Suite("The guide 'Get your events in'")
struct GetYourEventsInTests {
    private static let databases = [
        "marten", "message-db", "rails-event-store", "axon-large-objects", "axon-bytea", "emmett",
        "outbox-table", "marten-quiet",
    ]
    private static let files = [
        "kurrent", "outbox-topic", "kafka", "cloudevents", "cloudevents-batch", "cloudtrail",
        "github-archive", "github-api", "csv", "csv-source", "ocel",
    ]
    private let page: GuidePage

    init() throws {
        page = try GuidePage()
    }

    @Test("every command of the page is run by a test")
    func complete() throws {
        let tested = Set(Self.databases + Self.files)
        #expect(Set(page.blocks.compactMap(\.name)) == tested.union(["first"]))
        #expect(try StoreInputs.all() == tested)
        let unnamed = page.blocks.filter { $0.name == nil }.map(\.commands)
        #expect(unnamed.count == 1 && unnamed[0].hasPrefix("export STORE="))
    }

    @Test("a store in PostgreSQL gives its events in its own order", arguments: databases)
    func database(name: String) async throws {
        try await withStore(name) { shell, inputs in
            try await importTwice(shell, inputs)
        }
    }

    @Test("a file gives its events in its own order", arguments: files)
    func file(name: String) async throws {
        try await withFiles(name) { shell, inputs in try await importTwice(shell, inputs) }
    }

    @Test(
        "a later run adds what the store has got since, whatever else has changed there",
        arguments: ["marten", "rails-event-store", "emmett"]
    )
    func later(name: String) async throws {
        try await withStore(name) { shell, inputs in
            try await importTwice(shell, inputs)
            try await shell.load(inputs.text("later.sql"))
            let outcome = try await run(name, in: shell)
            #expect(outcome.standardOutput.contains("Stored 1 event in 'ledger.db', 6 were there"))
            try await expectEvents(shell, inputs, "expected-later.ndjson")
        }
    }

    @Test("of a file without ids that has grown only the end is stored")
    func grownFile() async throws {
        try await withFiles("csv-source") { shell, inputs in
            try await importTwice(shell, inputs)
            let file = URL(fileURLWithPath: "\(shell.folder)/readings.csv")
            let grown = try String(contentsOf: file, encoding: .utf8) + inputs.text("later.csv")
            try grown.write(to: file, atomically: true, encoding: .utf8)
            let outcome = try await run("csv-source", in: shell)
            #expect(outcome.standardOutput.contains("Stored 1 event in 'ledger.db', "))
            try await expectEvents(shell, inputs, "expected-later.ndjson")
        }
    }

    @Test(
        "Axon: numbers that do not ascend inside an aggregate are found, and the other order is right"
    )
    func blocksOfNumbers() async throws {
        try await withStore("axon-large-objects") { shell, inputs in
            let question = try page.blocks(inputs.name, that: "asks").joined()
            #expect(try await shell.run(question).standardOutput == "0\n")
            // By another instance, whose clock is behind and whose numbers were reserved before.
            try await shell.load(
                """
                UPDATE domain_event_entry SET global_index = 2, time_stamp = '2026-01-05T08:00:01Z'
                WHERE aggregate_identifier = 'order-1' AND sequence_number = 2
                """
            )
            #expect(try await shell.run(question).standardOutput == "1\n")

            let usual = try page.blocks(inputs.name).joined()
            let order = try page.blocks(inputs.name, that: "replaces").joined()
            let commands = usual.replacing("    ORDER BY global_index) a\" |", with: order)
            #expect(commands != usual)
            expect(try await shell.run(page.blocks("first").joined()), exits: 0)
            expect(try await shell.run(commands), exits: 0)
            var lines = try inputs.text("expected.ndjson").split(separator: "\n").map(String.init)
            lines[5] = lines[5].replacing("\"global_index\": 53", with: "\"global_index\": 2")
                .replacing("2026-01-05T23:30:00.123456Z", with: "2026-01-05T08:00:01Z")
            let expected = [3, 0, 1, 2, 5, 4].map { lines[$0] + "\n" }.joined()
            let path = "\(shell.folder)/expected.ndjson"
            try expected.write(toFile: path, atomically: true, encoding: .utf8)
            try await expectEvents(shell, inputs, path)
        }
    }

    @Test("the comparison finds an event that is missing, changed, or in another place")
    func comparisonFails() async throws {
        try await withFiles("csv") { shell, inputs in
            try await importTwice(shell, inputs)
            let lines = try inputs.text("expected.ndjson").split(separator: "\n")
            let wrong = [
                Array(lines.dropLast()), Array(lines[1...]) + [lines[0]],
                lines.map { $0.replacing("39.80", with: "39.8")[...] },
                lines.map { $0.replacing("08:00:00.000001", with: "08:00:00.000002")[...] },
                lines.map { $0.replacing("\"metadata\": null", with: "\"metadata\": {}")[...] },
            ]
            for (index, lines) in wrong.enumerated() {
                let path = "\(shell.folder)/wrong-\(index).ndjson"
                try (lines.joined(separator: "\n") + "\n").write(
                    toFile: path,
                    atomically: true,
                    encoding: .utf8
                )
                let outcome = try await inputs.check(shell.ledger, against: path)
                #expect(outcome.status == 1, "\(index): \(outcome.standardOutput)")
            }
        }
    }

    /// Runs `body` beside a database with the store's own tables.
    private func withStore(
        _ name: String,
        _ body: @Sendable (GuideShell, StoreInputs) async throws -> Void
    ) async throws {
        let inputs = try StoreInputs(name)
        try await withScratchDatabase { database in
            try await withScratchFolder { folder in
                let shell = try GuideShell(in: folder, inputs, store: database)
                try await shell.load(inputs.text("tables.sql"))
                try await body(shell, inputs)
            }
        }
    }

    /// Runs `body` in a folder with the files that commands read.
    private func withFiles(
        _ name: String,
        _ body: (GuideShell, StoreInputs) async throws -> Void
    ) async throws {
        let inputs = try StoreInputs(name)
        try await withScratchFolder { folder in
            let shell = try GuideShell(in: folder, inputs)
            try inputs.copyFiles(to: folder)
            try await body(shell, inputs)
        }
    }

    /// Makes a ledger, runs the commands of the page, and runs them again, which stores nothing.
    private func importTwice(_ shell: GuideShell, _ inputs: StoreInputs) async throws {
        for command in try page.blocks("first") { expect(try await shell.run(command), exits: 0) }
        for time in 1...2 {
            let outcome = try await run(inputs.name, in: shell)
            if time == 2 {
                #expect(outcome.standardOutput.contains("Stored 0 events in 'ledger.db', "))
            }
            try await expectEvents(shell, inputs)
        }
    }

    /// - Returns: How the last command of the page for this store ended.
    @discardableResult
    private func run(_ name: String, in shell: GuideShell) async throws -> ChildProcess.Outcome {
        var outcomes: [ChildProcess.Outcome] = []
        for commands in try page.blocks(name) {
            let outcome = try await shell.run(commands)
            expect(outcome, exits: 0)
            outcomes.append(outcome)
        }
        return try #require(outcomes.last)
    }

    private func expectEvents(
        _ shell: GuideShell,
        _ inputs: StoreInputs,
        _ expected: String = "expected.ndjson"
    ) async throws {
        let outcome = try await inputs.check(shell.ledger, against: expected)
        #expect(outcome.status == 0, "\(outcome.standardOutput)\(outcome.standardError)")
    }
}
