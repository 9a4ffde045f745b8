import ProjectionKit

/// Lends `body` the payload of an event whose content is `json`, valid or not.
@discardableResult
func withPayload<Result>(
    _ json: String,
    _ body: (borrowing Payload) throws -> Result
) throws -> Result {
    try withEvent(bytes: Array(json.utf8)) { try body($0.payload) }
}

/// Lends `body` an event whose content is `bytes`, UTF-8 or not.
@discardableResult
func withEvent<Result>(
    bytes: [UInt8],
    _ body: (borrowing Event) throws -> Result
) throws -> Result {
    let batch = EventBatch(capacity: 1, bytes: 1)
    bytes.withUnsafeBytes {
        batch.append(
            position: Position(1),
            time: Timestamp(microseconds: 0),
            bucketStart: 0,
            type: UnsafeRawBufferPointer(start: nil, count: 0),
            stream: UnsafeRawBufferPointer(start: nil, count: 0),
            payload: $0
        )
    }
    var result: Result?
    try batch.forEach { event in result = try body(event) }
    guard let result else { preconditionFailure("a batch of one event lent none") }
    return result
}
