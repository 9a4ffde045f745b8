internal import Glibc
package import ProjectionKit

/// What a ledger holds.
package struct LedgerInfo: Hashable, Sendable {
    /// Above this number of events in one bucket a ledger's buckets are too wide: a bucket is the
    /// least that progress, repair and reports can speak of.
    package static let busyBucket = 100_000

    /// The file.
    package let path: String
    /// Milliseconds.
    package let bucketWidth: Int64
    /// All events.
    package internal(set) var events = 0
    /// Events by type, the most frequent first.
    package internal(set) var types: [TypeCount] = []
    /// Distinct streams.
    package internal(set) var streams = 0
    /// Buckets that hold events.
    package internal(set) var buckets = 0
    /// The earliest and the latest time of an event; nil when there is none.
    package internal(set) var times: ClosedRange<Timestamp>?
    /// Bytes on the disk, the write-ahead log included.
    package let fileBytes: Int
    /// The bucket that holds most events; the first of several.
    package internal(set) var busiest: BucketCount?

    /// What is worth changing, in words; nil when nothing is.
    package var warning: String? {
        guard let busiest, busiest.events > Self.busyBucket else { return nil }
        return """
            The bucket \(busiest.bucket) holds \(busiest.events) events, more than \
            \(Self.busyBucket): make a ledger with a smaller --bucket-width and import again.
            """
    }

    /// Reads the whole ledger once.
    ///
    /// Blocks.
    ///
    /// - Parameters:
    ///   - path: Where the ledger is.
    ///   - progress: Called with the number of events read so far, every few thousand. What it
    ///     throws ends the reading.
    /// - Returns: The numbers.
    /// - Throws: ``LedgerError``; what `progress` throws.
    package static func read(
        path: String,
        progress: (Int) throws -> Void = { _ in }
    ) throws -> LedgerInfo {
        try LedgerFile.withLedger(path: path, mode: .read) { database, bucketWidth in
            var survey = LedgerSurvey(bucketWidth: bucketWidth)
            if let newest = try EventKey.newest(in: database) {
                let span = PositionSpan(through: newest.position)
                let rows = try EventRows(of: span, in: database)
                while try rows.nextPage({ row in
                    survey.add(row)
                    return true
                }) > 0 {
                    try progress(survey.events)
                }
            }
            return survey.info(path: path)
        }
    }
}

/// Counts, row by row.
private struct LedgerSurvey {
    private let bucketWidth: Int64
    private(set) var events = 0
    private var types = EventTypeCache()
    private var typeCounts: [EventType: Int] = [:]
    // 64 bits of each name instead of the name: at 100 million streams the chance that two share
    // them, so that one is not counted, is 1 in 3,700.
    private var streams: Set<UInt64> = []
    private var buckets = 0
    private var bucketStart = Int64.min
    private var bucketEvents = 0
    private var busiest: BucketCount?
    private var earliest = Int64.max
    private var latest = Int64.min

    init(bucketWidth: Int64) {
        self.bucketWidth = bucketWidth
    }

    mutating func add(_ row: EventRow) {
        if row.bucketStart != bucketStart || events == 0 {
            endBucket()
            bucketStart = row.bucketStart
            buckets += 1
        }
        events += 1
        bucketEvents += 1
        typeCounts[types.type(named: row.type), default: 0] += 1
        streams.insert(ContentHash(row.stream).value)
        earliest = min(earliest, row.time)
        latest = max(latest, row.time)
    }

    mutating func info(path: String) -> LedgerInfo {
        endBucket()
        var info = LedgerInfo(
            path: path,
            bucketWidth: bucketWidth,
            fileBytes: Self.size(of: path)
        )
        info.events = events
        info.types = TypeCount.sorted(typeCounts)
        info.streams = streams.count
        info.buckets = buckets
        info.busiest = busiest
        if events > 0 {
            info.times = Timestamp(milliseconds: earliest)...Timestamp(milliseconds: latest)
        }
        return info
    }

    private mutating func endBucket() {
        defer { bucketEvents = 0 }
        guard bucketEvents > busiest?.events ?? 0 else { return }
        busiest = BucketCount(
            bucket: Bucket(start: bucketStart, width: bucketWidth),
            events: bucketEvents
        )
    }

    private static func size(of path: String) -> Int {
        ["", "-wal"].reduce(0) { total, suffix in
            var status = stat()
            return stat(path + suffix, &status) == 0 ? total + Int(status.st_size) : total
        }
    }
}
