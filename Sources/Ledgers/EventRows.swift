internal import ProjectionKit

/// One row of the table `events`, lent for one call.
struct EventRow {
    let bucketStart: Int64
    let id: EventID
    let time: Int64
    let stream: UnsafeRawBufferPointer
    let type: UnsafeRawBufferPointer
    let payload: UnsafeRawBufferPointer

    var key: EventKey { EventKey(bucketStart: bucketStart, id: id) }
}

/// The primary key of an event, which is its place in the ledger.
struct EventKey: Comparable {
    let bucketStart: Int64
    let id: EventID

    init(bucketStart: Int64, id: EventID) {
        self.bucketStart = bucketStart
        self.id = id
    }

    init(_ position: Position) {
        bucketStart = Int64(bitPattern: position.words.0 ^ (1 << 63))
        id = EventID(high: position.words.1, low: position.words.2)
    }

    /// The sign bit is flipped so that times before 1970 come first in unsigned order.
    var position: Position {
        Position(UInt64(bitPattern: bucketStart) ^ (1 << 63), id.high, id.low)
    }

    static func < (left: EventKey, right: EventKey) -> Bool {
        left.bucketStart == right.bucketStart
            ? left.id < right.id : left.bucketStart < right.bucketStart
    }
}

/// Reads a span of events page after page, each page in a read transaction of its own.
final class EventRows {
    private static let pageRows: Int64 = 4_096

    private let database: SQLiteDatabase
    private let statement: SQLiteStatement
    private let bounds: SpanBounds

    init(of span: PositionSpan, in database: SQLiteDatabase) throws {
        self.database = database
        // Where the span ends is seen below: asked of SQLite, it took a comparison of records for each
        // row, a twentieth of reading.
        statement = try database.prepare(
            """
            SELECT time_bucket, event_id, ts, stream, type, message FROM main.events
            WHERE (time_bucket, event_id) > (?1, ?2)
            ORDER BY time_bucket, event_id LIMIT ?3
            """
        )
        bounds = SpanBounds(span)
    }

    /// Calls `body` with the next events, in order, until it says enough or the page is full.
    ///
    /// - Parameter body: Gives false when the row it was handed is the last it wants for now.
    /// - Returns: The number of rows handed out; 0 when the span is read to its end.
    /// - Throws: ``LedgerError``; what `body` throws.
    func nextPage(_ body: (EventRow) throws -> Bool) throws -> Int {
        bounds.bindBeginning(to: statement)
        statement.bind(Self.pageRows, at: 3)
        defer { statement.reset() }
        var count = 0
        while try statement.step() {
            let row = try currentRow()
            guard row.key <= bounds.through else { break }
            bounds.after = row.key
            count += 1
            guard try body(row) else { break }
        }
        return count
    }

    private func currentRow() throws -> EventRow {
        let bucketStart = statement.integer(0)
        guard let id = EventID(blob: statement.blob(1)) else {
            throw LedgerError.damaged(
                path: database.path,
                reason: "an event id in the bucket of \(Timestamp(milliseconds: bucketStart))"
                    + " is not 16 bytes long"
            )
        }
        return EventRow(
            bucketStart: bucketStart,
            id: id,
            time: statement.integer(2),
            stream: statement.text(3),
            type: statement.text(4),
            payload: statement.text(5)
        )
    }
}

/// The two ends of a span as parameters 1 to 4 of a statement.
final class SpanBounds {
    /// The last key that does not belong to the span.
    @exclusivity(unchecked) var after: EventKey?

    /// The last key that does.
    let through: EventKey

    private let keys: UnsafeMutableRawBufferPointer

    init(_ span: PositionSpan) {
        after = span.after.map { EventKey($0) }
        through = EventKey(span.through)
        keys = .allocate(byteCount: 32, alignment: 16)
    }

    deinit { keys.deallocate() }

    /// Binds both ends.
    ///
    /// The bounds must live until the statement is reset.
    func bind(to statement: SQLiteStatement) {
        bindBeginning(to: statement)
        statement.bind(through.bucketStart, at: 3)
        statement.bind(blob: through.id.write(to: keys, at: 16), at: 4)
    }

    /// Binds parameters 1 and 2 alone.
    func bindBeginning(to statement: SQLiteStatement) {
        // No id sorts before the empty one, so a span without a beginning starts with the first row.
        statement.bind(after?.bucketStart ?? .min, at: 1)
        let first = after?.id.write(to: keys, at: 0)
        statement.bind(blob: first ?? UnsafeRawBufferPointer(rebasing: keys[0..<0]), at: 2)
    }
}

extension EventID {
    /// Reads an id of its 16 bytes; nil when there are more or fewer.
    init?(blob: UnsafeRawBufferPointer) {
        guard blob.count == 16 else { return nil }
        self.init(
            high: UInt64(bigEndian: blob.loadUnaligned(fromByteOffset: 0, as: UInt64.self)),
            low: UInt64(bigEndian: blob.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
        )
    }

    /// Writes the 16 bytes and lends them.
    func write(
        to buffer: UnsafeMutableRawBufferPointer,
        at offset: Int
    ) -> UnsafeRawBufferPointer {
        buffer.storeBytes(of: high.bigEndian, toByteOffset: offset, as: UInt64.self)
        buffer.storeBytes(of: low.bigEndian, toByteOffset: offset + 8, as: UInt64.self)
        return UnsafeRawBufferPointer(rebasing: buffer[offset..<(offset + 16)])
    }
}
