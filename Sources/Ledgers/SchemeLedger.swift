package import LedgerKit
package import ProjectionKit
import Wording

/// A ledger of a kind that the team's program brought, whose errors are told as those of a ledger.
package struct SchemeLedger: Ledger {
    private let ledger: any Ledger

    /// Opens it.
    ///
    /// - Throws: ``LedgerError/foreign(place:reason:)``.
    package init(_ address: String, by scheme: LedgerScheme) throws {
        ledger = try Self.translating(address) { try scheme.open(address) }
    }

    package var place: String { ledger.place }
    package var bucketWidth: Int64 { ledger.bucketWidth }
    package var arrival: Arrival { ledger.arrival }
    package func identity() throws -> String { try translating { try ledger.identity() } }

    package func safePosition() throws -> Position? {
        try translating { try ledger.safePosition() }
    }

    package func holds(_ position: Position) throws -> Bool {
        try translating { try ledger.holds(position) }
    }

    package func lastPosition(before time: Timestamp) throws -> Position? {
        try translating { try ledger.lastPosition(before: time) }
    }

    package func buckets(in span: PositionSpan) throws -> [BucketCount] {
        try translating { try ledger.buckets(in: span) }
    }

    package func watch() throws -> any LedgerWatch {
        Watch(watch: try translating { try ledger.watch() }, place: place)
    }

    package func withReader<Result>(
        of span: PositionSpan,
        _ body: (any LedgerReader) throws -> Result
    ) throws -> Result {
        var outcome: Swift.Result<Result, any Error>?
        try translating {
            try ledger.withReader(of: span) { reader in
                // What the body throws is not the ledger's.
                outcome = Swift.Result { try body(Reader(reader: reader, place: place)) }
            }
        }
        guard let outcome else {
            throw LedgerError.foreign(place: place, reason: "it lent no reader")
        }
        return try outcome.get()
    }

    private func translating<Result>(_ body: () throws -> Result) throws -> Result {
        try Self.translating(place, body)
    }

    fileprivate static func translating<Result>(
        _ place: String,
        _ body: () throws -> Result
    ) throws -> Result {
        do {
            return try body()
        } catch let error as LedgerError {
            throw error
        } catch is CancellationError {
            throw CancellationError()
        } catch {
            throw LedgerError.foreign(place: place, reason: TextForPeople.oneLine(error))
        }
    }

    private struct Watch: LedgerWatch {
        let watch: any LedgerWatch
        let place: String

        func hasChanged() throws -> Bool {
            try SchemeLedger.translating(place) { try watch.hasChanged() }
        }
    }

    private final class Reader: LedgerReader {
        private let reader: any LedgerReader
        private let place: String

        init(reader: any LedgerReader, place: String) {
            self.reader = reader
            self.place = place
        }

        func fill(_ batch: EventBatch) throws -> Bool {
            try SchemeLedger.translating(place) { try reader.fill(batch) }
        }
    }
}
