package import ProjectionKit

/// An event on its way into a ledger.
package struct NewEvent: Sendable {
    /// Nil lets the ledger assign one that stands behind all others.
    package var id: EventID?
    /// Nil stands for now, or for the newest event's time where the clock is behind it.
    package var time: Timestamp?
    /// The stream, not empty.
    package var stream: String
    /// The type, not empty.
    package var type: String
    /// A JSON object, stored as it is written here.
    package var data: String

    /// Makes an event.
    package init(
        id: EventID? = nil,
        time: Timestamp? = nil,
        stream: String,
        type: String,
        data: String
    ) {
        self.id = id
        self.time = time
        self.stream = stream
        self.type = type
        self.data = data
    }
}

/// What became of an event that was appended.
package struct AppendedEvent: Hashable, Sendable {
    /// Its id, as given or assigned.
    package let id: EventID
    /// Its time, to the millisecond.
    package let time: Timestamp
    /// Its place in the ledger.
    package let position: Position
    /// Whether the ledger held an event of that id already; then nothing was stored.
    package let wasPresent: Bool
}

/// What became of a batch.
package struct AppendCounts: Hashable, Sendable {
    /// Events that are new in the ledger.
    package var stored = 0
    /// Events whose id was there already.
    package var present = 0
}

/// Events on their way into a ledger: one arena of bytes and one array of records, both reused.
///
/// `@unchecked Sendable`: a batch has one owner at a time. Whoever fills it hands it over through a
/// locked queue, and does not touch it until the queue hands it back.
final class NewEventBatch: @unchecked Sendable {
    struct Record {
        var id: EventID?
        var time: Int64?
        /// Whether the id was made of this time, so that it cannot stand in another bucket.
        var isIDOfTime: Bool
        var wasPresent = false
        var offset: Int
        var streamLength: Int
        var typeLength: Int
        var dataLength: Int
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

    /// Adds one event, copying its bytes.
    ///
    /// Without a time it gets the clock's when it is stored.
    func append(
        id: EventID?,
        isIDOfTime: Bool = false,
        time: Int64?,
        stream: UnsafeRawBufferPointer,
        type: UnsafeRawBufferPointer,
        data: UnsafeRawBufferPointer
    ) {
        let offset = byteCount
        reserve(stream.count + type.count + data.count)
        copy(stream)
        copy(type)
        copy(data)
        records.append(
            Record(
                id: id,
                time: time,
                isIDOfTime: isIDOfTime,
                offset: offset,
                streamLength: stream.count,
                typeLength: type.count,
                dataLength: data.count
            )
        )
    }

    func stream(of record: Record) -> UnsafeRawBufferPointer {
        span(record.offset, record.streamLength)
    }

    func type(of record: Record) -> UnsafeRawBufferPointer {
        span(record.offset + record.streamLength, record.typeLength)
    }

    func data(of record: Record) -> UnsafeRawBufferPointer {
        span(record.offset + record.streamLength + record.typeLength, record.dataLength)
    }

    func settle(at index: Int, id: EventID, time: Int64, wasPresent: Bool) {
        records[index].id = id
        records[index].time = time
        records[index].wasPresent = wasPresent
    }

    private func span(_ offset: Int, _ length: Int) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: bytes[offset..<(offset + length)])
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
