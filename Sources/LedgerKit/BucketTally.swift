package import ProjectionKit

/// How many events of each bucket a pass has read, to be compared with what the ledger holds later.
///
/// Memory: 16 bytes a bucket, and 24 an event where positions are kept.
package struct BucketTally: Sendable {
    private struct Entry {
        let start: Int64
        var events: Int
    }

    /// Positions of the events by bucket, where they are kept.
    private var positions: [Int64: Set<Position>]?
    private var entries: ContiguousArray<Entry> = []
    private var width: Int64 = 1

    /// Nothing was read.
    ///
    /// - Parameter keepsPositions: Whether it can be told afterwards which events were read.
    package init(keepsPositions: Bool) {
        positions = keepsPositions ? [:] : nil
    }

    /// Events read.
    package private(set) var events = 0

    /// Where the last bucket begins that was read, in milliseconds; nil when none was.
    package var lastBucketStart: Int64? { entries.last?.start }

    /// Adds the events of a batch.
    package mutating func add(_ batch: EventBatch) {
        events += batch.count
        width = batch.bucketWidth
        batch.forEachBucket { start, count in add(start, count) }
        guard positions != nil else { return }
        batch.forEach { positions?[$0.bucket.start, default: []].insert($0.position) }
    }

    /// Forgets the buckets that begin before a time, in milliseconds.
    package mutating func forget(before start: Int64) {
        let first = place(of: start)
        guard first > 0 else { return }
        if positions != nil { for entry in entries[..<first] { positions?[entry.start] = nil } }
        entries.removeFirst(first)
    }

    /// Events by the millisecond at which their bucket begins.
    package var counts: [Int64: Int] {
        Dictionary(uniqueKeysWithValues: entries.map { ($0.start, $0.events) })
    }

    /// Whether the event of a position was read; nil when positions are not kept.
    package func contains(_ position: Position, in bucket: Bucket) -> Bool? {
        positions.map { $0[bucket.start]?.contains(position) ?? false }
    }

    /// The buckets in which the ledger holds another number of events than were read.
    ///
    /// - Parameters:
    ///   - counts: What the ledger holds now, oldest bucket first.
    ///   - first: Where the counting began, in milliseconds; nil for the beginning.
    /// - Returns: The differences, oldest first.
    package func differences(
        from counts: [BucketCount],
        since first: Int64? = nil
    ) -> [BucketDifference] {
        var differences: [BucketDifference] = []
        var index = first.map { place(of: $0) } ?? 0
        for count in counts {
            while index < entries.count, entries[index].start < count.bucket.start {
                differences.append(gone(entries[index]))
                index += 1
            }
            var read = 0
            if index < entries.count, entries[index].start == count.bucket.start {
                read = entries[index].events
                index += 1
            }
            guard read != count.events else { continue }
            differences.append(
                BucketDifference(bucket: count.bucket, read: read, found: count.events)
            )
        }
        for entry in entries[index...] { differences.append(gone(entry)) }
        return differences.filter { $0.read != $0.found }
    }

    private func gone(_ entry: Entry) -> BucketDifference {
        BucketDifference(
            bucket: Bucket(start: entry.start, width: width),
            read: entry.events,
            found: 0
        )
    }

    private mutating func add(_ start: Int64, _ count: Int) {
        if let last = entries.indices.last, entries[last].start == start {
            entries[last].events += count
            return
        }
        let place = place(of: start)
        if place < entries.count, entries[place].start == start {
            entries[place].events += count
        } else {
            entries.insert(Entry(start: start, events: count), at: place)
        }
    }

    /// The index of the first entry that does not begin before `start`.
    private func place(of start: Int64) -> Int {
        if let last = entries.last, last.start < start { return entries.count }
        var low = 0
        var high = entries.count
        while low < high {
            let middle = (low + high) / 2
            if entries[middle].start < start { low = middle + 1 } else { high = middle }
        }
        return low
    }
}

/// A bucket that holds other events than were read of it.
package struct BucketDifference: Equatable, Sendable {
    /// The bucket.
    package let bucket: Bucket
    /// Events that were read.
    package let read: Int
    /// Events that it holds now.
    package let found: Int

    /// Makes one.
    package init(bucket: Bucket, read: Int, found: Int) {
        self.bucket = bucket
        self.read = read
        self.found = found
    }
}
