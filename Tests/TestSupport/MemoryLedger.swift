package import LedgerKit
package import Ledgers
package import ProjectionKit
internal import Foundation
internal import Synchronization

/// A ledger in memory that is appended to while others read it.
///
/// - In order: a position is an event's number and a digest of its content.
/// - Late: a position is bucket, time and id, as that of a store whose key says where an event
///   stands: what is appended with an earlier time stands in front of what was read.
package final class MemoryLedger: Ledger {
    /// What messages call it.
    package let place: String
    /// Milliseconds.
    package let bucketWidth: Int64
    /// Where an event goes that is appended with an earlier time.
    package let arrival: Arrival

    private struct State {
        var events: [LedgerEvent] = []
        var changes = 0

        /// The index of the first event behind a position.
        func index(behind position: Position) -> Int {
            var (low, high) = (0, events.count)
            while low < high {
                let middle = (low + high) / 2
                if events[middle].position > position { high = middle } else { low = middle + 1 }
            }
            return low
        }
    }

    private let name = UUID().uuidString
    private let state = Mutex(State())

    /// An empty ledger.
    ///
    /// - Parameters:
    ///   - arrival: Where an event goes that is appended with an earlier time.
    ///   - bucketWidth: Milliseconds.
    package init(_ arrival: Arrival, bucketWidth: Int64 = 15_000) {
        self.arrival = arrival
        self.bucketWidth = bucketWidth
        place = "a ledger in memory"
    }

    /// Adds events in one step.
    ///
    /// An id in digits says where an event of a late ledger stands among those of its time; without
    /// one it stands behind them, in the order of appending. What has its position already is
    /// passed over.
    package func append(_ events: [NewEvent]) {
        state.withLock { state in
            for event in events { add(event, to: &state) }
            state.changes += 1
        }
    }

    /// Takes away the events that fit.
    package func remove(where isGone: (LedgerEvent) -> Bool) {
        state.withLock { state in
            state.events.removeAll(where: isGone)
            state.changes += 1
        }
    }

    private func add(_ new: NewEvent, to state: inout State) {
        let time = new.time ?? Timestamp(microseconds: Int64(Date().timeIntervalSince1970 * 1e6))
        let own = Bucket(containing: time.milliseconds, width: bucketWidth).start
        var event = LedgerEvent(
            position: Position(0),
            time: time,
            bucketStart: own,
            type: new.type,
            stream: new.stream,
            payload: new.data,
            id: new.id,
            metadata: new.metadata
        )
        switch arrival {
        case .inOrder:
            event.bucketStart = max(own, state.events.last?.bucketStart ?? own)
            event.position = Position(UInt64(state.events.count) + 1, Self.digest(of: event))
            state.events.append(event)
        case .late:
            event.position = Position(
                Self.ascending(own),
                Self.ascending(time.microseconds),
                new.id.flatMap { UInt64($0) } ?? 1 << 32 + UInt64(state.events.count)
            )
            let index = state.index(behind: event.position)
            if index > 0, state.events[index - 1].position == event.position { return }
            state.events.insert(event, at: index)
        }
    }

    /// A word that compares as the number does.
    private static func ascending(_ number: Int64) -> UInt64 {
        UInt64(bitPattern: number) ^ 1 << 63
    }

    /// FNV-1a (http://www.isthe.com/chongo/tech/comp/fnv/) over what the event says.
    private static func digest(of event: LedgerEvent) -> UInt64 {
        let texts = [event.stream, event.type, event.payload, event.id ?? "", event.metadata ?? ""]
        return texts.joined(separator: "\0").utf8.reduce(0xcbf2_9ce4_8422_2325) {
            ($0 ^ UInt64($1)) &* 0x0100_0000_01b3
        }
    }

    /// The events of a span as they are now.
    package func events(in span: PositionSpan) -> [LedgerEvent] {
        state.withLock { state in
            let begin = span.after.map { state.index(behind: $0) } ?? 0
            let end = state.index(behind: span.through)
            return begin < end ? Array(state.events[begin..<end]) : []
        }
    }

    package func identity() -> String { name }

    package func safePosition() -> Position? { state.withLock { $0.events.last?.position } }

    package func holds(_ position: Position) -> Bool {
        state.withLock { state in
            let index = state.index(behind: position)
            return index > 0 && state.events[index - 1].position == position
        }
    }

    package func lastPosition(before time: Timestamp) -> Position? {
        state.withLock { state in
            var last: Position?
            var filed = Timestamp(microseconds: .min)
            for event in state.events {
                filed = max(filed, event.time)
                guard filed < time else { break }
                last = event.position
            }
            return last
        }
    }

    package func buckets(in span: PositionSpan) -> [BucketCount] {
        var counts: [BucketCount] = []
        for event in events(in: span) {
            let bucket = Bucket(start: event.bucketStart, width: bucketWidth)
            let isNext = counts.last?.bucket != bucket
            let before = isNext ? 0 : counts.removeLast().events
            counts.append(BucketCount(bucket: bucket, events: before + 1, last: event.position))
        }
        return counts
    }

    package func watch() -> any LedgerWatch { Watch(ledger: self) }

    fileprivate var changes: Int { state.withLock { $0.changes } }

    package func withReader<Result>(
        of span: PositionSpan,
        _ body: (any LedgerReader) throws -> Result
    ) throws -> Result {
        try body(Reader(ledger: self, span: span))
    }

    private final class Watch: LedgerWatch {
        private let ledger: MemoryLedger
        private let seen: Mutex<Int>

        init(ledger: MemoryLedger) {
            self.ledger = ledger
            seen = Mutex(ledger.changes)
        }

        func hasChanged() -> Bool {
            seen.withLock { seen in
                let changes = ledger.changes
                defer { seen = changes }
                return seen != changes
            }
        }
    }

    /// Reads a page of what there is at each call.
    private final class Reader: LedgerReader {
        private let ledger: MemoryLedger
        private let through: Position
        private var after: Position?

        init(ledger: MemoryLedger, span: PositionSpan) {
            self.ledger = ledger
            after = span.after
            through = span.through
        }

        func fill(_ batch: EventBatch) -> Bool {
            batch.removeAll()
            batch.bucketWidth = ledger.bucketWidth
            let page = ledger.events(in: PositionSpan(after: after, through: through)).prefix(1_000)
            for event in page where batch.byteCount < 1 << 20 {
                batch.append(event)
                after = event.position
            }
            return batch.count > 0
        }
    }
}
