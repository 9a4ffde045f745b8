import LedgerKit
package import ProjectionKit
import Wording

/// Folds the events of a fold a second time and compares the tables of the two, also those that are
/// the reducer's alone.
///
/// The second fold is made by one copy of the projection: where the first one was made by several, a
/// partition key that does not keep apart what belongs together is found as well.
///
/// Both folds are held in memory. The second one runs in the same process: what differs only from
/// one process or one day to the next is not found.
struct DeterminismCheck: Sendable {
    let projection: any Projection.Type
    let ledger: any Ledger
    let lateness: LatenessTerms
    let progress: @Sendable (RebuildProgress) -> Void

    /// Folds that are made until two of them have read the same events.
    private static let folds = 4

    /// Folds again, up to where a fold stands.
    ///
    /// - Parameter first: The fold to compare with.
    /// - Returns: A fold to go on with - another one where late events came in between - and the
    ///   digests of its tables.
    /// - Throws: ``UnrepeatableFold``; ``RebuildError/ledgerChangedBehind(projection:differences:)``
    ///   where late events never stop; What the ledger throws, ``EventRejection``, `CancellationError`.
    func run(after first: LedgerFold) async throws -> (fold: LedgerFold, digests: [String: String])
    {
        var last = first
        for _ in 1..<Self.folds {
            let next = try await repetition(of: last)
            if await next.events == last.events {
                return (last, try await digests(of: last.fold, and: next.fold))
            }
            last = next
        }
        throw RebuildError.ledgerChangedBehind(
            projection: projection.name,
            differences: try await first.differences()
        )
    }

    private func repetition(of fold: LedgerFold) async throws -> LedgerFold {
        let next = LedgerFold(of: projection.makeFold(), from: ledger, lateness: lateness)
        guard let end = await fold.position else { return next }
        let total = await fold.events
        try await next.advance(to: end) { events, _, bucketStart in
            progress(.folded(events: events, total: total, bucketStart: bucketStart))
        }
        return next
    }

    private func digests(
        of first: any Fold,
        and second: any Fold
    ) async throws -> [String: String] {
        try await onThread { checkCancellation in
            var digests: [String: String] = [:]
            for (table, twin) in first.tables(with: second) {
                try checkCancellation()
                switch table.comparison(with: twin) {
                case .same(let digest): digests[table.name] = digest
                case .different(let difference):
                    throw UnrepeatableFold(projection: projection.name, difference: difference)
                }
            }
            return digests
        }
    }
}

/// Two folds of the same events gave different rows.
package struct UnrepeatableFold: Error, Equatable {
    /// The projection's name.
    package let projection: String
    /// Where: in the first table that differs, in the order of their declaration.
    package let difference: TableDifference

    /// Makes one.
    package init(projection: String, difference: TableDifference) {
        self.projection = projection
        self.difference = difference
    }
}

extension UnrepeatableFold: CustomStringConvertible {
    /// The three-part message that is printed on standard error; of the rows it holds one key.
    package var description: String {
        let rows = difference.rows == 1 ? "1 row differs" : "\(difference.rows) rows differ"
        return """
            Two folds of the same events gave '\(projection)' different rows: in '\(difference.table)' \
            \(rows), the first at \(TextForPeople.line(difference.key, most: 1_000)), \(place).
            The live tables are unchanged.
            A reducer goes by its event and its tables alone, and not by the clock, random numbers or \
            the order of a Dictionary or Set. Fix it, then run '\(ProgramName.current) rebuild \(projection) \
            --check-determinism' again.
            """
    }

    private var place: String {
        let columns = difference.columns
        guard columns.count > 1 else {
            return columns.first.map { "in the column \($0)" } ?? "which only one fold has"
        }
        return "in the columns \(columns.joined(separator: ", "))"
    }
}
