internal import ProjectionKit

/// The buckets as the events make them.
struct BucketCheck {
    private let filing: Filing
    private var made: [Int64: Filing.Row] = [:]
    private var damaged: Set<Int64> = []
    private var start: Int64?
    /// Whether events before the next one are not known.
    private var hasGap = false

    init(width: Int64) {
        filing = Filing(width: width)
    }

    mutating func add(_ row: EventRow, isWhole: Bool) -> Bucket {
        let start = filing.bucketStart(of: row.time, after: start)
        // The time of a damaged event is not known, and so not its bucket.
        guard isWhole else {
            if let own = self.start { damaged.insert(own) }
            hasGap = true
            return Bucket(start: self.start ?? start, width: filing.width)
        }
        if hasGap { damaged.insert(start) }
        hasGap = false
        self.start = start
        made[start, default: Filing.Row(start: start, firstSequence: row.sequence)].add(
            checksum: row.checksum,
            bytes: row.texts.count + row.type.count
        )
        return Bucket(start: start, width: filing.width)
    }

    /// Events that could not be read come next.
    mutating func forget() {
        if let start { damaged.insert(start) }
        hasGap = true
    }

    /// Where events are damaged or missing, that is said already, and their buckets cannot agree.
    func compare(with found: [Filing.Row], _ result: inout LedgerVerify) {
        let explained = result.counts[.content] ?? result.counts[.order] ?? result.counts[.file]
        var known: Set<Int64> = []
        for row in found {
            known.insert(row.start)
            guard !damaged.contains(row.start) else { continue }
            let bucket = Bucket(start: row.start, width: filing.width)
            guard let own = made[row.start] else {
                guard explained == nil else { continue }
                result.add(.buckets, "the bucket \(bucket) is listed, and no event is filed in it")
                continue
            }
            guard own != row else { continue }
            result.add(
                .buckets,
                "the list of buckets has other numbers than the events of \(bucket)"
            )
        }
        for row in made.values.sorted(by: { $0.start < $1.start }) where !known.contains(row.start)
        {
            let bucket = Bucket(start: row.start, width: filing.width)
            result.add(.buckets, "the bucket \(bucket) is not listed, and has events")
        }
    }
}
