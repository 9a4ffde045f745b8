/// Something that happened, as the ledger holds it.
///
/// An event is lent to `reduce` for one call: it points into the batch it was read in and cannot
/// be kept. Copy out what a row needs.
public struct Event: ~Copyable {
    /// The event's name, unique in the ledger.
    public let id: EventID
    /// When it happened.
    ///
    /// Times need not ascend: order is by ``bucket``, then ``id``.
    public let time: Timestamp
    /// The bucket it is filed in.
    public let bucket: Bucket
    /// Its type.
    public let type: EventType
    /// The event's content, a JSON object.
    public let payload: Payload
    /// Its place in the ledger's order.
    package let position: Position

    let streamBytes: UnsafeRawBufferPointer

    package init(record: EventBatch.Record, in batch: EventBatch, parser: PayloadParser) {
        id = EventID(high: record.idHigh, low: record.idLow)
        time = Timestamp(milliseconds: record.time)
        bucket = Bucket(start: record.bucketStart, width: batch.bucketWidth)
        type = record.type
        position = record.position
        streamBytes = batch.span(at: record.streamOffset, length: record.streamLength)
        payload = Payload(
            text: batch.span(at: record.payloadOffset, length: record.payloadLength),
            parser: parser
        )
    }

    /// The stream it belongs to, such as `order-42`.
    public var stream: String { String(decoding: streamBytes, as: UTF8.self) }

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
}
