package import ProjectionKit

/// An event on its way into a ledger.
package struct NewEvent: Sendable {
    /// What names it in the whole ledger, at most 255 bytes; nil for an event without an id.
    package var id: String?
    /// Nil stands for now.
    package var time: Timestamp?
    /// The stream, not empty.
    package var stream: String
    /// The type, not empty.
    package var type: String
    /// A JSON object, stored as it is written here.
    package var data: String
    /// A JSON object, stored as it is written here; nil for none.
    package var metadata: String?

    /// Makes an event.
    package init(
        id: String? = nil,
        time: Timestamp? = nil,
        stream: String,
        type: String,
        data: String,
        metadata: String? = nil
    ) {
        self.id = id
        self.time = time
        self.stream = stream
        self.type = type
        self.data = data
        self.metadata = metadata
    }
}

/// What became of an event that was appended.
package struct AppendedEvent: Hashable, Sendable {
    /// Its time.
    package let time: Timestamp
    /// Its place in the ledger.
    package let position: Position
    /// Whether the ledger held it already; then nothing was stored.
    package let wasPresent: Bool

    /// Its number in the ledger.
    package var sequence: Int64 { position.sequence }
}

/// What became of a batch.
package struct AppendCounts: Hashable, Sendable {
    /// Events that are new in the ledger.
    package var stored = 0
    /// Events that were there already, with the same id and content.
    package var present = 0
    /// Events that were refused and passed over.
    package var refused = 0
    /// The record at which appending ended early; nil when all were looked at.
    package var stoppedAt: Int?
}

/// Events on their way into a ledger: one arena of bytes and one array of records, both reused.
///
/// `@unchecked Sendable`: a batch has one owner at a time. Its filler hands it over through a locked
/// queue, and does not touch it until the queue hands it back.
final class NewEventBatch: @unchecked Sendable {
    /// What the arena knows of one event: its texts follow each other from `offset` on, stream,
    /// type, payload, metadata, id, and what it was read from.
    struct Record {
        var time: Int64?
        fileprivate var offset: Int
        fileprivate var streamLength: Int
        fileprivate var typeLength: Int
        fileprivate var dataLength: Int
        /// -1 without one.
        fileprivate var metadataLength: Int
        /// -1 without one.
        fileprivate var idLength: Int
        fileprivate var sourceLength: Int
        /// The number of the line, or the element, that it was read from; 0 for none.
        var number: Int

        var hasID: Bool { idLength >= 0 }
    }

    private(set) var records: [Record] = []
    private(set) var byteCount = 0
    private var bytes: UnsafeMutableRawBufferPointer

    init() {
        bytes = .allocate(byteCount: 1 << 20, alignment: 16)
    }

    deinit { bytes.deallocate() }

    func removeAll() {
        records.removeAll(keepingCapacity: true)
        byteCount = 0
    }

    /// Takes the events from an index on out of the batch; their bytes stay until it is emptied.
    func removeAll(from index: Int) {
        records.removeSubrange(index...)
    }

    /// Adds one event, copying its bytes.
    ///
    /// - Parameters:
    ///   - id: Nil for an event without one.
    ///   - time: Microseconds since 1970; nil for the clock's when it is stored.
    ///   - stream: Not empty.
    ///   - type: Not empty.
    ///   - data: A JSON object that was checked.
    ///   - metadata: A JSON object that was checked; nil for none.
    ///   - number: The number of the line that it was read from.
    ///   - source: The line itself, where it may have to be set aside.
    func append(
        id: UnsafeRawBufferPointer?,
        time: Int64?,
        stream: UnsafeRawBufferPointer,
        type: UnsafeRawBufferPointer,
        data: UnsafeRawBufferPointer,
        metadata: UnsafeRawBufferPointer? = nil,
        number: Int = 0,
        source: UnsafeRawBufferPointer? = nil
    ) {
        let offset = byteCount
        let source = source ?? UnsafeRawBufferPointer(start: nil, count: 0)
        reserve(
            stream.count + type.count + data.count + (metadata?.count ?? 0) + (id?.count ?? 0)
                + source.count
        )
        copy(stream)
        copy(type)
        copy(data)
        if let metadata { copy(metadata) }
        if let id { copy(id) }
        copy(source)
        records.append(
            Record(
                time: time,
                offset: offset,
                streamLength: stream.count,
                typeLength: type.count,
                dataLength: data.count,
                metadataLength: metadata?.count ?? -1,
                idLength: id?.count ?? -1,
                sourceLength: source.count,
                number: number
            )
        )
    }

    func type(of record: Record) -> UnsafeRawBufferPointer {
        span(record.offset + record.streamLength, record.typeLength)
    }

    func texts(of record: Record) -> EventBytes {
        let payload = record.offset + record.streamLength + record.typeLength
        let metadata = payload + record.dataLength
        return EventBytes(
            stream: span(record.offset, record.streamLength),
            payload: span(payload, record.dataLength),
            id: span(metadata + max(0, record.metadataLength), record.idLength),
            metadata: span(metadata, record.metadataLength)
        )
    }

    /// The line that an event was read from; empty where it is not kept.
    func source(of record: Record) -> UnsafeRawBufferPointer {
        let before =
            record.streamLength + record.typeLength + record.dataLength
            + max(0, record.metadataLength) + max(0, record.idLength)
        return span(record.offset + before, record.sourceLength)
    }

    private func span(_ offset: Int, _ length: Int) -> UnsafeRawBufferPointer {
        length < 0
            ? UnsafeRawBufferPointer(start: nil, count: 0)
            : UnsafeRawBufferPointer(rebasing: bytes[offset..<(offset + length)])
    }

    private func copy(_ source: UnsafeRawBufferPointer) {
        UnsafeMutableRawBufferPointer(rebasing: bytes[byteCount...]).copyMemory(from: source)
        byteCount += source.count
    }

    private func reserve(_ wanted: Int) {
        guard byteCount + wanted > bytes.count else { return }
        let larger = UnsafeMutableRawBufferPointer.allocate(
            byteCount: max(byteCount + wanted, bytes.count * 2),
            alignment: 16
        )
        larger.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[..<byteCount]))
        bytes.deallocate()
        bytes = larger
    }
}
