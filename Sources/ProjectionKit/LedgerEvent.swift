/// An event as a value, to be kept: what ``Event`` lends for one call.
public struct LedgerEvent: Hashable, Sendable {
    /// Its place in the ledger's order.
    public var position: Position
    /// When it happened.
    public var time: Timestamp
    /// Where the bucket begins that it is filed in, in milliseconds since 1970.
    public var bucketStart: Int64
    /// Its type.
    public var type: String
    /// The stream it belongs to.
    public var stream: String
    /// Its content, a JSON object, as the ledger holds it.
    public var payload: String
    /// The id that its writer gave it; nil without one.
    public var id: String?
    /// A JSON object; nil without one.
    public var metadata: String?

    /// Writes an event down.
    public init(
        position: Position,
        time: Timestamp,
        bucketStart: Int64,
        type: String,
        stream: String,
        payload: String,
        id: String? = nil,
        metadata: String? = nil
    ) {
        self.position = position
        self.time = time
        self.bucketStart = bucketStart
        self.type = type
        self.stream = stream
        self.payload = payload
        self.id = id
        self.metadata = metadata
    }

    /// Copies an event out of its batch.
    public init(_ event: borrowing Event) {
        self.init(
            position: event.position,
            time: event.time,
            bucketStart: event.bucket.start,
            type: event.type.name,
            stream: event.stream,
            payload: event.payload.json,
            id: event.id,
            metadata: event.hasMetadata ? event.metadata.json : nil
        )
    }
}

extension EventBatch {
    /// Adds one event.
    public func append(_ event: LedgerEvent) {
        func lend(_ text: String?, _ body: (UnsafeRawBufferPointer?) -> Void) {
            guard var text else { return body(nil) }
            text.withUTF8 { characters in
                // The empty string lends no address, and a text without one counts as missing.
                guard characters.baseAddress != nil else {
                    return withUnsafeBytes(of: UInt8(0)) { zero in
                        body(UnsafeRawBufferPointer(rebasing: zero[..<0]))
                    }
                }
                body(UnsafeRawBufferPointer(characters))
            }
        }
        let nothing = UnsafeRawBufferPointer(start: nil, count: 0)
        lend(event.stream) { stream in
            lend(event.payload) { payload in
                lend(event.id) { id in
                    lend(event.metadata) { metadata in
                        append(
                            position: event.position,
                            time: event.time,
                            bucketStart: event.bucketStart,
                            type: EventType(event.type),
                            texts: EventBytes(
                                stream: stream ?? nothing,
                                payload: payload ?? nothing,
                                id: id ?? nothing,
                                metadata: metadata ?? nothing
                            )
                        )
                    }
                }
            }
        }
    }
}
