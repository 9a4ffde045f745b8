import Dispatch
import Foundation
import Postgres
import LedgerKit
import ProjectionKit
import TestSupport
import Testing

@testable import Ledgers
@testable import Rebuilder

/// The write-ahead log of a ledger's file: what was appended, until a checkpoint has written it into
/// the file, which no reader may keep from it for long.
@Suite("A ledger's log", .serialized)
struct LedgerLogTests {
    /// A checkpoint comes after 64 MiB; one batch can be on top, and the log's own headers.
    private static let bound = 72 << 20

    @Test("stays small while a slow fold stands in the middle of its pass and a writer appends")
    func slowFold() async throws {
        try await withLedger { ledger, end in
            let pass = HeldPass()
            async let folding = FoldPass(
                ledger: ledger,
                folds: [Tally.makeFold()],
                progress: { _, _, _ in pass.hold() }
            ).run(over: PositionSpan(through: end), adding: BucketTally(keepsPositions: false))
            await pass.waitUntilHeld()
            let largest = try pass.releasing { try appendMuch(to: ledger) }
            #expect(try await folding.tally.events == 20_000)
            print("the log had \(largest >> 20) MiB at most")
            #expect(largest < Self.bound)
        }
    }

    @Test("grows without a limit where a transaction stays open, so the other test can fail")
    func openTransaction() async throws {
        try await withLedger { ledger, _ in
            let largest = try LedgerFile.withLedger(path: ledger.path, mode: .read) { database, _ in
                let statement = try database.prepare("SELECT time FROM main.events")
                #expect(try statement.step())
                defer { statement.reset() }
                return try appendMuch(to: ledger)
            }
            print("the log had \(largest >> 20) MiB at most")
            #expect(largest > 2 * Self.bound)
        }
    }

    /// A ledger of more events than a pass keeps in its hands.
    private func withLedger(
        _ body: (SQLiteLedger, Position) async throws -> Void
    ) async throws {
        try await withScratchFolder { folder in
            let ledger = try SQLiteLedger.create(path: "\(folder)/ledger.db")
            try LedgerWriter.withWriter(path: ledger.path) {
                _ = try $0.append(counted(repeatElement(1, count: 20_000)))
            }
            try await body(ledger, try #require(try ledger.safePosition()))
        }
    }

    /// Appends 160 MiB, in batches of 4 MiB.
    ///
    /// - Returns: The largest size of the log after a batch, in bytes.
    private func appendMuch(to ledger: SQLiteLedger) throws -> Int {
        let text = String(repeating: "x", count: 1 << 20)
        return try LedgerWriter.withWriter(path: ledger.path) { writer in
            var largest = 0
            for _ in 1...40 {
                let event = NewEvent(stream: "large", type: "Large", data: #"{"text":"\#(text)"}"#)
                try writer.append(Array(repeating: event, count: 4))
                let log = try FileManager.default.attributesOfItem(atPath: ledger.path + "-wal")
                largest = max(largest, try #require(log[.size] as? Int))
            }
            return largest
        }
    }
}

/// Stops the reducer's thread of a fold after its first batch.
private final class HeldPass: Sendable {
    private let signals = AsyncStream<Void>.makeStream()
    private let gate = DispatchSemaphore(value: 0)

    /// Called on that thread.
    func hold() {
        signals.continuation.yield()
        gate.wait()
        // Later batches go through.
        gate.signal()
    }

    func waitUntilHeld() async {
        for await _ in signals.stream { return }
    }

    /// Lets the thread go on when `body` is done.
    func releasing<Result>(_ body: () throws -> Result) rethrows -> Result {
        defer { gate.signal() }
        return try body()
    }
}
