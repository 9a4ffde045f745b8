/// Events on their way from a ledger's reader to the reducer: one arena of bytes and one array of
/// records, both reused, so that reading an event allocates nothing.
///
/// A ledger fills it by ``append(position:time:bucketStart:type:stream:payload:id:metadata:)``.
///
/// `@unchecked Sendable`: one thread fills a batch, hands it over through a locked queue, and does not
/// touch it until the queue hands it back. Until then any number of threads read it, each with a JSON
/// parser of its own: the one of the batch is for a single thread.
public final class EventBatch: @unchecked Sendable {
    /// What the arena knows of one event: its texts follow each other from `offset` on, stream,
    /// payload, id, metadata.
    package struct Record {
        var position: Position
        var bucketStart: Int64
        var time: Int64
        var offset: Int
        var streamLength: UInt32
        var payloadLength: UInt32
        /// `UInt32.max` without one.
        var idLength: UInt32
        /// `UInt32.max` without one.
        var metadataLength: UInt32
        var type: EventType
    }

    // A batch has one owner; enforcing exclusivity for each property of it took a tenth of reading.

    /// Milliseconds; the same for every event of a batch.
    @exclusivity(unchecked) public var bucketWidth: Int64 = 15_000
    /// Events in the batch.
    @exclusivity(unchecked) public private(set) var count = 0
    /// Bytes of the texts in the batch.
    @exclusivity(unchecked) public private(set) var byteCount = 0
    /// Roughly how much of the span that is being read has been read with this batch, 0 to 1; nil
    /// where the ledger does not know.
    @exclusivity(unchecked) public var share: Double?
    /// The JSON parser of the thread that drains the batch, where it is one.
    let parser = PayloadParser()

    @exclusivity(unchecked) private var types = EventTypeCache()
    @exclusivity(unchecked) private var records: UnsafeMutablePointer<Record>
    @exclusivity(unchecked) private var recordCapacity: Int
    @exclusivity(unchecked) private var bytes: UnsafeMutableRawPointer
    @exclusivity(unchecked) private var byteCapacity: Int

    /// An empty batch.
    ///
    /// - Parameters:
    ///   - capacity: Events to make room for; it grows when more come.
    ///   - bytes: Bytes to make room for; it grows as well.
    public init(capacity: Int = 4_096, bytes: Int = 1 << 20) {
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
    public func removeAll() {
        count = 0
        byteCount = 0
    }

    /// Adds one event, copying its bytes.
    ///
    /// - Parameters:
    ///   - position: Its place; positions ascend in a batch.
    ///   - time: When it happened.
    ///   - bucketStart: Where the bucket begins that it is filed in, in milliseconds since 1970.
    ///   - type: Its type, UTF-8.
    ///   - stream: Its stream, UTF-8.
    ///   - payload: A JSON object, UTF-8, less than 4 GiB.
    ///   - id: The id that its writer gave it; nil without one.
    ///   - metadata: A JSON object; nil without one.
    public func append(
        position: Position,
        time: Timestamp,
        bucketStart: Int64,
        type: UnsafeRawBufferPointer,
        stream: UnsafeRawBufferPointer,
        payload: UnsafeRawBufferPointer,
        id: UnsafeRawBufferPointer? = nil,
        metadata: UnsafeRawBufferPointer? = nil
    ) {
        append(
            position: position,
            time: time,
            bucketStart: bucketStart,
            type: types.type(named: type),
            texts: EventBytes(
                stream: stream,
                payload: payload,
                id: id ?? UnsafeRawBufferPointer(start: nil, count: 0),
                metadata: metadata ?? UnsafeRawBufferPointer(start: nil, count: 0)
            )
        )
    }

    /// Adds one event, copying its bytes.
    package func append(
        position: Position,
        time: Timestamp,
        bucketStart: Int64,
        type: EventType,
        texts: EventBytes
    ) {
        reserve(bytes: texts.count)
        let record = Record(
            position: position,
            bucketStart: bucketStart,
            time: time.microseconds,
            offset: byteCount,
            streamLength: UInt32(texts.stream.count),
            payloadLength: UInt32(texts.payload.count),
            idLength: texts.id.baseAddress == nil ? .max : UInt32(texts.id.count),
            metadataLength: texts.metadata.baseAddress == nil ? .max : UInt32(texts.metadata.count),
            type: type
        )
        copy(texts.stream)
        copy(texts.payload)
        copy(texts.id)
        copy(texts.metadata)
        (records + count).initialize(to: record)
        count += 1
    }

    /// Calls `body` with each event, in the order they were added.
    ///
    /// - Parameter body: What is done with an event.
    /// - Throws: What `body` throws.
    public func forEach(_ body: (borrowing Event) throws -> Void) rethrows {
        try forEach(in: 0..<count, body)
    }

    /// Lends the records, and where their texts begin.
    func withRecords(
        _ body: (UnsafePointer<Record>, UnsafeRawPointer) throws -> Void
    ) rethrows {
        try body(records, bytes)
    }

    /// Calls `body` with the events of a range, counted from 0.
    package func forEach(
        in range: Range<Int>,
        _ body: (borrowing Event) throws -> Void
    ) rethrows {
        for index in range {
            let event = Event(record: records[index], in: self, parser: parser)
            try body(event)
        }
    }

    /// The bucket that an event is filed in, counted from 0.
    package func bucket(at index: Int) -> Bucket {
        Bucket(start: records[index].bucketStart, width: bucketWidth)
    }

    /// Where the bucket of an event ends in the batch: the index of the first event behind it that is
    /// filed elsewhere, or ``count``.
    package func end(ofBucketAt index: Int) -> Int {
        guard index < count else { return count }
        var end = index + 1
        while end < count, records[end].bucketStart == records[index].bucketStart { end += 1 }
        return end
    }

    /// Adds a copy of an event of another batch.
    package func append(copying event: borrowing Event) {
        append(
            position: event.position,
            time: event.time,
            bucketStart: event.bucket.start,
            type: event.type,
            texts: event.bytes
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
    public var lastPosition: Position? { count == 0 ? nil : records[count - 1].position }

    /// Milliseconds at which the last event's bucket begins; nil when the batch is empty.
    package var lastBucketStart: Int64? { count == 0 ? nil : records[count - 1].bucketStart }

    /// Where an event's texts lie.
    func spans(of record: Record) -> EventBytes {
        var offset = record.offset
        func next(_ length: UInt32) -> UnsafeRawBufferPointer {
            guard length != .max else { return UnsafeRawBufferPointer(start: nil, count: 0) }
            defer { offset += Int(length) }
            return UnsafeRawBufferPointer(start: bytes + offset, count: Int(length))
        }
        return EventBytes(
            stream: next(record.streamLength),
            payload: next(record.payloadLength),
            id: next(record.idLength),
            metadata: next(record.metadataLength)
        )
    }

    private func copy(_ text: UnsafeRawBufferPointer) {
        guard let source = text.baseAddress else { return }
        (bytes + byteCount).copyMemory(from: source, byteCount: text.count)
        byteCount += text.count
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
