/// Events on their way from the reader to the reducer: one arena of bytes and one array of records,
/// both reused, so that reading an event allocates nothing.
///
/// `@unchecked Sendable`: a batch has one owner at a time. The reader fills it, hands it over
/// through a locked queue, and does not touch it until the queue hands it back.
package final class EventBatch: @unchecked Sendable {
    /// What the arena knows of one event.
    package struct Record {
        var idHigh: UInt64
        var idLow: UInt64
        var position: Position
        var bucketStart: Int64
        var time: Int64
        var payloadOffset: Int
        var payloadLength: Int
        var streamOffset: Int
        var streamLength: Int
        var type: EventType
    }

    // A batch has one owner; enforcing exclusivity for each property of it took a tenth of reading.

    /// Milliseconds; the same for every event of a batch.
    @exclusivity(unchecked) package var bucketWidth: Int64 = 15_000
    /// Events in the batch.
    @exclusivity(unchecked) package private(set) var count = 0
    /// Bytes of stream names and payloads in the batch.
    @exclusivity(unchecked) package private(set) var byteCount = 0
    /// Roughly how much of the span that is being read has been read with this batch, 0 to 1; nil
    /// where the ledger does not know.
    @exclusivity(unchecked) package var share: Double?
    /// The JSON parser of the thread that drains the batch, where it is one.
    let parser = PayloadParser()

    @exclusivity(unchecked) private var records: UnsafeMutablePointer<Record>
    @exclusivity(unchecked) private var recordCapacity: Int
    @exclusivity(unchecked) private var bytes: UnsafeMutableRawPointer
    @exclusivity(unchecked) private var byteCapacity: Int

    /// An empty batch.
    ///
    /// - Parameters:
    ///   - capacity: Events to make room for; it grows when more come.
    ///   - bytes: Bytes to make room for; it grows as well.
    package init(capacity: Int = 4_096, bytes: Int = 1 << 20) {
        recordCapacity = max(capacity, 1)
        records = .allocate(capacity: recordCapacity)
        byteCapacity = bytes + PayloadParser.padding
        self.bytes = .allocate(byteCount: byteCapacity, alignment: 16)
        // The parser may look at, and never uses, bytes past the last payload.
        self.bytes.initializeMemory(as: UInt8.self, repeating: 0, count: byteCapacity)
    }

    deinit {
        records.deallocate()
        bytes.deallocate()
    }

    /// Forgets the events and keeps the memory.
    package func removeAll() {
        count = 0
        byteCount = 0
    }

    /// Adds one event, copying its bytes.
    package func append(
        id: EventID,
        position: Position,
        bucketStart: Int64,
        time: Int64,
        type: EventType,
        stream: UnsafeRawBufferPointer,
        payload: UnsafeRawBufferPointer
    ) {
        reserve(bytes: stream.count + payload.count)
        let streamOffset = byteCount
        let payloadOffset = streamOffset + stream.count
        if let source = stream.baseAddress {
            (bytes + streamOffset).copyMemory(from: source, byteCount: stream.count)
        }
        if let source = payload.baseAddress {
            (bytes + payloadOffset).copyMemory(from: source, byteCount: payload.count)
        }
        byteCount = payloadOffset + payload.count
        (records + count).initialize(
            to: Record(
                idHigh: id.high,
                idLow: id.low,
                position: position,
                bucketStart: bucketStart,
                time: time,
                payloadOffset: payloadOffset,
                payloadLength: payload.count,
                streamOffset: streamOffset,
                streamLength: stream.count,
                type: type
            )
        )
        count += 1
    }

    /// Calls `body` with each event, in the order they were added.
    ///
    /// - Parameters:
    ///   - parser: Reads the payloads; the batch's own is for a batch that one thread drains.
    ///   - body: What is done with an event.
    /// - Throws: What `body` throws.
    package func forEach(
        parsedBy parser: PayloadParser? = nil,
        _ body: (borrowing Event) throws -> Void
    ) rethrows {
        let parser = parser ?? self.parser
        for index in 0..<count {
            let event = Event(record: records[index], in: self, parser: parser)
            try body(event)
        }
    }

    /// Adds a copy of an event of another batch.
    package func append(copying event: borrowing Event) {
        append(
            id: event.id,
            position: event.position,
            bucketStart: event.bucket.start,
            time: event.time.milliseconds,
            type: event.type,
            stream: event.streamBytes,
            payload: event.payload.text
        )
    }

    /// Calls `body` with the start of each bucket, in milliseconds, and its number of events, as
    /// they follow each other.
    package func forEachBucket(_ body: (_ start: Int64, _ events: Int) -> Void) {
        var first = 0
        for index in 0..<count where records[index].bucketStart != records[first].bucketStart {
            body(records[first].bucketStart, index - first)
            first = index
        }
        if count > first { body(records[first].bucketStart, count - first) }
    }

    /// The position of the last event; nil when the batch is empty.
    package var lastPosition: Position? { count == 0 ? nil : records[count - 1].position }

    /// Milliseconds at which the last event's bucket begins; nil when the batch is empty.
    package var lastBucketStart: Int64? { count == 0 ? nil : records[count - 1].bucketStart }

    func span(at offset: Int, length: Int) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: bytes + offset, count: length)
    }

    private func reserve(bytes wanted: Int) {
        if count == recordCapacity {
            let larger = UnsafeMutablePointer<Record>.allocate(capacity: recordCapacity * 2)
            larger.moveInitialize(from: records, count: count)
            records.deallocate()
            records = larger
            recordCapacity *= 2
        }
        let needed = byteCount + wanted + PayloadParser.padding
        guard needed > byteCapacity else { return }
        let capacity = max(needed, byteCapacity * 2)
        let larger = UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: 16)
        larger.initializeMemory(as: UInt8.self, repeating: 0, count: capacity)
        larger.copyMemory(from: bytes, byteCount: byteCount)
        bytes.deallocate()
        bytes = larger
        byteCapacity = capacity
    }
}
