public import FoundationEssentials

/// Something that happened, as the ledger holds it.
///
/// An event is lent to `reduce` for one call: it points into the batch it was read in and cannot
/// be kept. Copy out what a row needs.
public struct Event: ~Copyable {
    /// Its place in the ledger's order, which is the order in which events were appended.
    public let position: Position
    /// When it happened, to the microsecond.
    ///
    /// Times need not ascend: order is by ``position``.
    public let time: Timestamp
    /// The bucket it is filed in: that of its time, or the newest one where that is later.
    public let bucket: Bucket
    /// Its type.
    public let type: EventType
    /// The event's content, a JSON object.
    public let payload: Payload

    let streamBytes: UnsafeRawBufferPointer
    /// Without an address when the event was appended without an id.
    private let idBytes: UnsafeRawBufferPointer
    /// Without an address when the event has none.
    private let metadataBytes: UnsafeRawBufferPointer
    private let parser: Unmanaged<PayloadParser>

    package init(record: EventBatch.Record, in batch: EventBatch, parser: PayloadParser) {
        position = record.position
        time = Timestamp(microseconds: record.time)
        bucket = Bucket(start: record.bucketStart, width: batch.bucketWidth)
        type = record.type
        let spans = batch.spans(of: record)
        streamBytes = spans.stream
        idBytes = spans.id
        metadataBytes = spans.metadata
        self.parser = Unmanaged.passUnretained(parser)
        payload = Payload(text: spans.payload, parser: parser)
    }

    /// The stream it belongs to, such as `order-42`.
    public var stream: String { String(decoding: streamBytes, as: UTF8.self) }

    /// The id that its writer gave it, unique in the ledger; nil when it gave none.
    public var id: String? {
        idBytes.baseAddress == nil ? nil : String(decoding: idBytes, as: UTF8.self)
    }

    /// The id, when it is a UUID of 36 characters; nil for any other, and without one.
    public var uuid: UUID? { JSONValue.plainUUID(idBytes) }

    /// What was said about the event besides its content, such as who caused it: a JSON object, the
    /// empty one when the event has none.
    ///
    /// Its fields are indexed anew each time it is asked for: read several through one constant.
    public var metadata: Payload {
        Payload(
            text: hasMetadata ? metadataBytes : Event.noMetadata,
            parser: parser.takeUnretainedValue().forMetadata,
            path: "metadata $"
        )
    }

    /// Whether the event has metadata.
    public var hasMetadata: Bool { metadataBytes.baseAddress != nil }

    /// Decodes the whole payload with `JSONDecoder`: comfortable, and many times slower than the
    /// accessors of ``payload``.
    ///
    /// Dates are read as RFC 3339 text, milliseconds allowed.
    ///
    /// - Parameter type: What to decode.
    /// - Returns: The decoded value.
    /// - Throws: ``PayloadError`` with the JSON path that does not fit.
    public func decode<Value: Decodable>(_ type: Value.Type = Value.self) throws -> Value {
        try payload.decode(type)
    }

    /// The bytes of stream, payload, id and metadata, the last two without an address where the event
    /// has none; lent like the event.
    package var bytes: EventBytes {
        EventBytes(
            stream: streamBytes,
            payload: payload.text,
            id: idBytes,
            metadata: metadataBytes
        )
    }

    /// `{}`, and as many zeros as the parser may look at.
    private nonisolated(unsafe) static let noMetadata: UnsafeRawBufferPointer = {
        // Never freed and never written again, so that any thread may read it.
        let memory = UnsafeMutableRawBufferPointer.allocate(
            byteCount: 2 + PayloadParser.padding,
            alignment: 16
        )
        memory.initializeMemory(as: UInt8.self, repeating: 0)
        memory.copyBytes(from: "{}".utf8)
        return UnsafeRawBufferPointer(rebasing: memory[..<2])
    }()
}

/// The texts of an event, where they lie; a text that the event does not have is without an address.
package struct EventBytes {
    package let stream: UnsafeRawBufferPointer
    package let payload: UnsafeRawBufferPointer
    package let id: UnsafeRawBufferPointer
    package let metadata: UnsafeRawBufferPointer

    /// Lends them.
    package init(
        stream: UnsafeRawBufferPointer,
        payload: UnsafeRawBufferPointer,
        id: UnsafeRawBufferPointer,
        metadata: UnsafeRawBufferPointer
    ) {
        self.stream = stream
        self.payload = payload
        self.id = id
        self.metadata = metadata
    }

    /// Bytes of all four.
    package var count: Int { stream.count + payload.count + id.count + metadata.count }
}
