import Foundation
import Ledgers
import Testing

/// A folder with a ledger, into which a test imports.
struct ImportScene {
    let folder: String
    var ledger: String { file("a.ledger") }

    /// Runs `body` with a scene of its own, and removes it afterwards.
    static func with(_ body: (ImportScene) throws -> Void) throws {
        let url = FileManager.default.temporaryDirectory.appendingPathComponent(
            "import-\(UUID().uuidString)"
        )
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: url) }
        let scene = ImportScene(folder: url.path)
        try EmbeddedLedger.create(path: scene.ledger, bucketWidth: 15_000)
        try body(scene)
    }

    func file(_ name: String) -> String { "\(folder)/\(name)" }

    func write(_ data: Data, to name: String = "events") throws {
        try data.write(to: URL(fileURLWithPath: file(name)))
    }

    func text(of name: String) throws -> String {
        String(decoding: try Data(contentsOf: URL(fileURLWithPath: file(name))), as: UTF8.self)
    }

    /// Imports a text, as the file of that name.
    @discardableResult
    func take(
        _ text: String,
        as name: String = "events",
        _ options: (inout ImportOptions) -> Void = { _ in }
    ) throws -> ImportProgress {
        try write(Data(text.utf8), to: name)
        return try take(file: name, options)
    }

    /// Imports a file of the folder.
    @discardableResult
    func take(
        file name: String,
        _ options: (inout ImportOptions) -> Void = { _ in },
        progress: (ImportProgress) throws -> Void = { _ in }
    ) throws -> ImportProgress {
        var chosen = ImportOptions()
        options(&chosen)
        let work = LedgerImport(file: file(name), ledger: ledger, options: chosen)
        let counts = try work.run(progress: progress)
        try work.confirm(counts)
        return counts
    }

    /// The error of an import that must fail.
    func refusal(_ body: () throws -> Void) -> ImportError? {
        do {
            try body()
            Issue.record("the import succeeded")
            return nil
        } catch {
            #expect(error is ImportError, "\(error)")
            return error as? ImportError
        }
    }

    /// The ledger's events as Python's sqlite3 reads them: a JSON array a line of time, stream, type,
    /// payload, metadata and id.
    func events() throws -> [String] {
        try query("SELECT time, stream, type, payload, metadata, id FROM events ORDER BY sequence")
    }

    /// The payloads, in order.
    func payloads() throws -> [String] {
        try query("SELECT payload FROM events ORDER BY sequence").map {
            let row = try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String]
            return row?.first ?? ""
        }
    }

    func query(_ sql: String) throws -> [String] {
        let program = """
            import json, sqlite3, sys
            for row in sqlite3.connect(sys.argv[1]).execute(sys.argv[2]):
                print(json.dumps(row, ensure_ascii=False, separators=(",", ":"), default=bytes.hex))
            """
        let output = try run(["python3", "-c", program, ledger, sql])
        return String(decoding: output, as: UTF8.self).split(separator: "\n").map(String.init)
    }

    /// Runs a program of the system, so that nothing is checked against itself.
    @discardableResult
    func run(_ command: [String], input: String? = nil) throws -> Data {
        let output = Pipe()
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = command
        process.standardOutput = output
        process.standardInput =
            try input.map {
                try FileHandle(forReadingFrom: URL(fileURLWithPath: file($0)))
            } ?? FileHandle.nullDevice
        try process.run()
        let data = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        try #require(process.terminationStatus == 0, "\(command) failed")
        return data
    }

    func verify() throws {
        #expect(try query("PRAGMA integrity_check") == ["[\"ok\"]"])
    }
}

/// A line of NDJSON without an id.
func line(_ number: Int, id: String? = nil, stream: String = "s") -> String {
    let id = id.map { "\"id\":\"\($0)\"," } ?? ""
    let second = String(number % 60)
    return
        "{\(id)\"time\":\"2026-03-01T09:\(number / 60 % 50 + 10):\(second.count < 2 ? "0" : "")\(second)Z\","
        + "\"stream\":\"\(stream)\",\"type\":\"Step\",\"data\":{\"n\":\"\(number)\"}}\n"
}

func lines(_ range: Range<Int>, id: (Int) -> String? = { _ in nil }) -> String {
    range.map { line($0, id: id($0)) }.joined()
}

/// The payload of such a line.
func payload(_ number: Int) -> String { "{\"n\":\"\(number)\"}" }
