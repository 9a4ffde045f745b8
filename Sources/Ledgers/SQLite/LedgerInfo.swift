internal import Glibc
package import LedgerKit
package import ProjectionKit

/// What a ledger holds.
package struct LedgerInfo: Hashable, Sendable {
    /// Above this number of events in one bucket a ledger's buckets are too wide: a bucket is the
    /// least that progress, repair and reports can speak of.
    package static let busyBucket = 100_000

    /// What messages call the ledger.
    package let place: String
    /// What tells it from all others.
    package let identity: String
    /// Milliseconds.
    package let bucketWidth: Int64
    /// All events.
    package internal(set) var events = 0
    /// Events by type, the most frequent first.
    package internal(set) var types: [TypeCount] = []
    /// Distinct streams.
    package internal(set) var streams = 0
    /// Events that were appended with an id.
    package internal(set) var ids = 0
    /// Buckets that hold events.
    package internal(set) var buckets = 0
    /// The earliest and the latest time of an event; nil when there is none.
    package internal(set) var times: ClosedRange<Timestamp>?
    /// Events whose time is earlier than that of an event before them.
    package internal(set) var backdated = 0
    /// Where the last event stands; nil in an empty ledger.
    package internal(set) var position: Position?
    /// Bytes on the disk, a log included; nil for a ledger that is no file.
    package internal(set) var fileBytes: Int?
    /// The bucket that holds most events; the first of several.
    package internal(set) var busiest: BucketCount?

    /// What is worth changing, a sentence each.
    package var warnings: [String] {
        var warnings: [String] = []
        if let busiest, busiest.events > Self.busyBucket {
            warnings.append(
                "The bucket \(busiest.bucket) holds \(busiest.events) events, more than "
                    + "\(Self.busyBucket): make a ledger with a smaller --bucket-width and import "
                    + "again."
            )
        }
        if let warning = TypeCount.warning(types: types.count) { warnings.append(warning) }
        return warnings
    }

    /// Reads the whole ledger once.
    ///
    /// Blocks.
    ///
    /// - Parameters:
    ///   - ledger: What to read.
    ///   - progress: Called with the number of events read so far, every few thousand. What it
    ///     throws ends the reading.
    /// - Returns: The numbers.
    /// - Throws: What the ledger throws; what `progress` throws.
    package static func read(
        _ ledger: any Ledger,
        progress: (Int) throws -> Void = { _ in }
    ) throws -> LedgerInfo {
        var survey = LedgerSurvey(
            LedgerInfo(
                place: ledger.place,
                identity: try ledger.identity(),
                bucketWidth: ledger.bucketWidth
            )
        )
        if let end = try ledger.safePosition() {
            let span = PositionSpan(through: end)
            try ledger.withReader(of: span) { reader in
                let batch = EventBatch()
                while try reader.fill(batch) {
                    batch.forEach { survey.add($0) }
                    try progress(survey.info.events)
                }
            }
            let buckets = try ledger.buckets(in: span)
            survey.info.buckets = buckets.count
            // The first of several.
            survey.info.busiest = buckets.reversed().max { $0.events < $1.events }
        }
        survey.info.fileBytes = size(of: ledger.place)
        return survey.finished()
    }

    private static func size(of path: String) -> Int? {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        var log = stat()
        return Int(status.st_size) + (stat(path + "-wal", &log) == 0 ? Int(log.st_size) : 0)
    }
}

/// Counts, event by event.
private struct LedgerSurvey {
    var info: LedgerInfo
    private var typeCounts: [EventType: Int] = [:]
    // 64 bits of each name instead of the name: at 100 million streams the chance that two share
    // them, so that one is not counted, is 1 in 3,700.
    private var streams: Set<UInt64> = []
    private var earliest = Int64.max
    private var latest = Int64.min

    init(_ info: LedgerInfo) {
        self.info = info
    }

    mutating func add(_ event: borrowing Event) {
        info.events += 1
        info.position = event.position
        let texts = event.bytes
        if texts.id.baseAddress != nil { info.ids += 1 }
        typeCounts[event.type, default: 0] += 1
        streams.insert(XXHash.of(texts.stream, seed: 0))
        let time = event.time.microseconds
        if time < latest { info.backdated += 1 }
        earliest = min(earliest, time)
        latest = max(latest, time)
    }

    mutating func finished() -> LedgerInfo {
        info.types = TypeCount.sorted(typeCounts)
        info.streams = streams.count
        if info.events > 0 {
            info.times = Timestamp(microseconds: earliest)...Timestamp(microseconds: latest)
        }
        return info
    }
}
