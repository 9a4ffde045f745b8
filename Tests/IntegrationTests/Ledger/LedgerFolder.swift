import Foundation
import LedgerKit
import Ledgers
import ProjectionKit

/// Runs `body` with a folder of its own, and removes the folder afterwards.
func withLedgerFolder<Result>(_ body: (LedgerFolder) throws -> Result) throws -> Result {
    let url = FileManager.default.temporaryDirectory
        .appendingPathComponent("ledger-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: url) }
    return try body(LedgerFolder(path: url.path))
}

struct LedgerFolder {
    let path: String

    func file(_ name: String) -> String { "\(path)/\(name)" }

    func write(_ text: String, to name: String) throws -> String {
        try write(Data(text.utf8), to: name)
    }

    func write(_ data: Data, to name: String) throws -> String {
        let file = file(name)
        try data.write(to: URL(fileURLWithPath: file))
        return file
    }

    func text(of name: String) throws -> String {
        String(decoding: try Data(contentsOf: URL(fileURLWithPath: file(name))), as: UTF8.self)
    }

    /// Compresses with the system's `gzip`, so that reading is not checked against itself.
    func gzip(_ name: String) throws -> Data {
        let output = Pipe()
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["gzip", "-c", file(name)]
        process.standardOutput = output
        try process.run()
        let data = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return data
    }
}

/// Event by event: id or `-`, time, stream, type and payload, in the ledger's order.
func contents(of path: String) throws -> [String] {
    let ledger = try SQLiteLedger(path: path)
    guard let last = try ledger.safePosition() else { return [] }
    var lines: [String] = []
    try ledger.withReader(of: PositionSpan(through: last)) { reader in
        let batch = EventBatch()
        while try reader.fill(batch) {
            batch.forEach { event in
                lines.append(
                    "\(event.id ?? "-") \(event.time) \(event.stream) \(event.type) "
                        + event.payload.json
                )
            }
        }
    }
    return lines
}
