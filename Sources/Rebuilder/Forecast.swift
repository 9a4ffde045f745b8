import LedgerKit
import ProjectionKit
import ReadModels

/// What a rebuild is expected to take.
package struct Forecast: Equatable, Sendable {
    /// What it was reckoned from.
    package enum Basis: Equatable, Sendable {
        /// The last rebuild, which folded so many events.
        case lastRebuild(events: Int)
        /// A fold of the ledger's first events, so many of them.
        case sample(events: Int)
    }

    /// What it was reckoned from.
    package let basis: Basis
    /// Events in the ledger.
    package let events: Int
    /// Rows by table.
    package let rows: [String: Int]
    /// The most memory that the process will hold, in bytes.
    package let peakMemoryBytes: Int
    /// Seconds: of the whole rebuild, or of the fold alone where it was reckoned from a sample, which
    /// says nothing of the server.
    package let seconds: Double
    /// How long readers will wait at most, in seconds; nil where no rebuild of the strategy has told.
    package let readersWait: Double?
    /// Bytes of the new tables on disk, without indexes beyond those of the keys; nil where it was not
    /// reckoned from a sample.
    package let tableBytes: Int?

    /// Whether ``seconds`` is the time of the whole rebuild.
    package var isWhole: Bool { if case .lastRebuild = basis { true } else { false } }
}

extension Forecast {
    /// Bytes of a process that holds no rows: measured as 24 to 32 MiB after a fold of nothing.
    private static let bareProcess = 30 << 20

    /// Reckons from the last rebuild of the same strategy.
    ///
    /// Rows, and with them time and memory, grow with the events. So does what readers wait for where the
    /// rows are loaded meanwhile.
    ///
    /// - Returns: Nil when that one was of so few events, or so many more, that it says little.
    init?(of events: Int, by strategy: Strategy, after past: PastRebuild) {
        guard past.events > 0, (0.1...10).contains(Double(events) / Double(past.events)) else {
            return nil
        }
        let ratio = Double(events) / Double(past.events)
        let ofRows = max(0, past.peakMemoryBytes - Self.bareProcess)
        basis = .lastRebuild(events: past.events)
        self.events = events
        rows = past.rows.mapValues { Int((Double($0) * ratio).rounded()) }
        peakMemoryBytes = min(past.peakMemoryBytes, Self.bareProcess) + Int(Double(ofRows) * ratio)
        seconds = past.seconds * ratio
        readersWait = past.blockedMilliseconds.map {
            $0 / 1_000 * (strategy == .truncate ? ratio : 1)
        }
        tableBytes = nil
    }
}

/// A fold of the first events of a ledger, to learn what all of them will take.
///
/// It is the first ones because a reducer cannot begin in the middle. Where rows are made by early
/// events and only changed by later ones, the forecast is too high.
struct ForecastSample: Sendable {
    let projection: any Projection.Type
    let ledger: any Ledger
    let strategy: Strategy

    /// Enough to outweigh what a process needs anyway, and folded in a fraction of a second.
    private static let events = 100_000

    /// What the server adds to a row.
    ///
    /// It is 24 bytes of header, 4 of its place in the page, and an entry of about
    /// 40 bytes in the index of the key. A field's length, which COPY sends, stands for alignment.
    private static let bytesAroundRow = 68

    /// Bytes of all rows as COPY sends them.
    private static func encodedBytes(of table: any LoadableTable) throws -> Int {
        let types = table.columnValues.map { $0.types.first ?? .text }
        var buffer = RowBuffer(capacity: 1 << 16)
        var bytes = 0
        for start in stride(from: 0, to: table.endIndex, by: 512) {
            buffer.removeAll()
            let end = min(start + 512, table.endIndex)
            _ = try table.encodeRows(start..<end, as: types, into: &buffer)
            bytes += buffer.count
        }
        return bytes
    }

    /// Folds, and reckons from that what `total` events will take.
    ///
    /// - Returns: Nil for an empty ledger.
    /// - Throws: ``EventRejection``, What the ledger throws, `CancellationError`.
    func forecast(of total: Int, through end: Position) async throws -> Forecast? {
        try await onThread { checkCancellation in
            let fold = projection.makeFold()
            let batch = EventBatch()
            let (memoryBefore, began) = (Memory.resident, ContinuousClock.now)
            var folded = 0
            try ledger.withReader(of: PositionSpan(through: end)) { reader in
                while folded < Self.events, try reader.fill(batch) {
                    try checkCancellation()
                    try fold.apply(batch)
                    folded += batch.count
                }
            }
            guard folded > 0 else { return nil }
            let ratio = Double(total) / Double(folded)
            let ofRows = Double(max(0, Memory.resident - memoryBefore))
            let seconds = (ContinuousClock.now - began) / .seconds(1)
            let encoded = try fold.tables.map(Self.encodedBytes).reduce(0, +)
            let rows = fold.tables.map(\.count).reduce(0, +)
            // A truncate holds the encoded rows as well, so that readers wait for the server alone.
            let held = strategy == .truncate ? Double(encoded) * ratio : 0
            return Forecast(
                basis: .sample(events: folded),
                events: total,
                rows: Dictionary(
                    uniqueKeysWithValues: fold.tables.map {
                        ($0.name, Int((Double($0.count) * ratio).rounded()))
                    }
                ),
                peakMemoryBytes: memoryBefore + Int(ofRows * ratio + held),
                seconds: seconds * ratio,
                readersWait: nil,
                tableBytes: Int(Double(encoded + rows * Self.bytesAroundRow) * ratio)
            )
        }
    }
}
