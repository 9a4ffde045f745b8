import LedgerKit
import ProjectionKit

/// Finds the event that changed a row last, by folding again.
///
/// The fold is held in memory, and takes longer than one that is loaded: the row is looked at after
/// each event.
struct RowHistory: Sendable {
    let projection: any Projection.Type
    let ledger: any Ledger

    /// The event.
    ///
    /// - Parameters:
    ///   - mark: The row.
    ///   - end: How far to fold, included.
    /// - Returns: The event; nil where the row did not come to be.
    /// - Throws: What the ledger throws, ``EventRejection``, `CancellationError`.
    func lastEvent(of mark: RowMark, through end: Position) async throws -> EventPlace? {
        try await onThread { [projection, ledger] checkCancellation in
            let fold = projection.makeFold()
            let (batch, single) = (EventBatch(), EventBatch(capacity: 1, bytes: 1 << 12))
            var (last, image): (EventPlace?, [UInt8]?)
            try ledger.withReader(of: PositionSpan(through: end)) { reader in
                while try reader.fill(batch) {
                    try checkCancellation()
                    single.bucketWidth = batch.bucketWidth
                    try batch.forEach { event in
                        single.removeAll()
                        single.append(copying: event)
                        try fold.apply(single)
                        let now = fold.image(of: mark)
                        if now != image { (last, image) = (EventPlace(event), now) }
                    }
                }
            }
            return last
        }
    }

    /// Whether the reducer takes all events up to a position, when it folds them from the beginning.
    ///
    /// - Throws: What the ledger throws, `CancellationError`.
    func isTaken(through end: Position) async throws -> Bool {
        try await onThread { [projection, ledger] checkCancellation in
            let fold = projection.makeFold()
            let batch = EventBatch()
            do {
                try ledger.withReader(of: PositionSpan(through: end)) { reader in
                    while try reader.fill(batch) {
                        try checkCancellation()
                        try fold.apply(batch)
                    }
                }
                return true
            } catch is EventRejection {
                return false
            }
        }
    }
}

extension Fold {
    fileprivate func image(of mark: RowMark) -> [UInt8]? {
        tables.first { $0.name == mark.table }.flatMap { mark.image($0) }
    }
}
