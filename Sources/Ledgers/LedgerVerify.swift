package import ProjectionKit

/// The findings of a check of a whole ledger.
package struct LedgerVerify: Hashable, Sendable {
    /// What can be wrong.
    package enum Check: String, CaseIterable, Sendable {
        /// SQLite's own check of the file.
        case integrity
        /// Events come in ascending order of bucket and id.
        case order
        /// No id stands twice.
        case uniqueIDs
        /// `time_bucket` is the start of the bucket that holds `ts`.
        case bucketArithmetic
        /// The payload is a JSON object.
        case validJSON
        /// Stream and type are not empty, and the time lies in the years 0001 to 9999.
        case fields
    }

    /// One thing that is wrong.
    package struct Finding: Hashable, Sendable, CustomStringConvertible {
        /// Which check found it.
        package let check: Check
        /// The event, if it is one event's fault.
        package let id: EventID?
        /// The bucket the event is filed in.
        package let bucket: Bucket?
        /// What is wrong, as a clause; never the content.
        package let reason: String

        /// `Event 0198… in bucket […): its payload is a number, not an object`.
        package var description: String {
            guard let id, let bucket else { return reason }
            return "Event \(id) in bucket \(bucket): \(reason)"
        }
    }

    /// How many findings are listed.
    package static let listed = 20

    /// Events looked at.
    package internal(set) var events = 0
    /// The first findings.
    package internal(set) var findings: [Finding] = []
    /// All findings, by check; a check that found nothing is absent.
    package internal(set) var counts: [Check: Int] = [:]

    /// Whether nothing is wrong.
    package var isSound: Bool { counts.isEmpty }

    /// Reads the whole ledger.
    ///
    /// Blocks.
    ///
    /// - Parameters:
    ///   - path: Where the ledger is.
    ///   - progress: Called with the number of events read so far, every few thousand. What it
    ///     throws ends the check.
    /// - Returns: The findings.
    /// - Throws: ``LedgerError`` when the ledger cannot be read at all; what `progress` throws.
    package static func run(
        path: String,
        progress: (Int) throws -> Void = { _ in }
    ) throws -> LedgerVerify {
        try LedgerFile.withLedger(path: path, mode: .read) { database, bucketWidth in
            var result = LedgerVerify()
            do {
                try result.check(database, bucketWidth: bucketWidth, progress)
            } catch LedgerError.damaged(_, let reason) {
                result.add(.integrity, "the file cannot be read further: \(reason)")
            }
            return result
        }
    }

    mutating func add(_ check: Check, _ reason: String, id: EventID? = nil, bucket: Bucket? = nil) {
        counts[check, default: 0] += 1
        guard findings.count < Self.listed else { return }
        findings.append(Finding(check: check, id: id, bucket: bucket, reason: reason))
    }

    private mutating func check(
        _ database: SQLiteDatabase,
        bucketWidth: Int64,
        _ progress: (Int) throws -> Void
    ) throws {
        try checkIntegrity(of: database)
        // Rows of a file that SQLite itself finds damaged cannot be trusted to be readable.
        guard isSound else { return }
        var rows = RowCheck(bucketWidth: bucketWidth)
        try rows.run(in: database, reportingTo: &self, progress)
        if rows.hasLooseIDs { try checkUniqueIDs(in: database, bucketWidth: bucketWidth) }
    }

    private mutating func checkIntegrity(of database: SQLiteDatabase) throws {
        let statement = try database.prepare("PRAGMA main.integrity_check(100)")
        while try statement.step() {
            let line = String(decoding: statement.text(0), as: UTF8.self)
            if line != "ok" { add(.integrity, "SQLite's integrity check says: \(line)") }
        }
    }

    private mutating func checkUniqueIDs(in database: SQLiteDatabase, bucketWidth: Int64) throws {
        let statement = try database.prepare(
            """
            SELECT event_id, count(*), min(time_bucket) FROM main.events
            GROUP BY event_id HAVING count(*) > 1
            """
        )
        while try statement.step() {
            add(
                .uniqueIDs,
                "its id stands in \(statement.integer(1)) buckets, of which this is one",
                id: EventID(blob: statement.blob(0)),
                bucket: Bucket(start: statement.integer(2), width: bucketWidth)
            )
        }
    }
}

/// The checks that look at one row after the other.
private struct RowCheck {
    /// Whether an id does not carry a time of its bucket.
    ///
    /// Those that do cannot stand in two.
    private(set) var hasLooseIDs = false

    private let bucketWidth: Int64
    private let reader = JSONObjectReader()
    private var last: EventKey?
    private var padded: [UInt8] = []

    init(bucketWidth: Int64) {
        self.bucketWidth = bucketWidth
    }

    mutating func run(
        in database: SQLiteDatabase,
        reportingTo result: inout LedgerVerify,
        _ progress: (Int) throws -> Void
    ) throws {
        guard let newest = try EventKey.newest(in: database) else { return }
        let rows = try EventRows(of: PositionSpan(through: newest.position), in: database)
        while try rows.nextPage({ row in
            check(row, reportingTo: &result)
            return true
        }) > 0 {
            try progress(result.events)
        }
    }

    private mutating func check(_ row: EventRow, reportingTo result: inout LedgerVerify) {
        result.events += 1
        let bucket = Bucket(start: row.bucketStart, width: bucketWidth)
        if let last, row.key <= last {
            result.add(
                .order,
                "it does not stand behind its predecessor",
                id: row.id,
                bucket: bucket
            )
        }
        last = row.key
        let own = Bucket(containing: row.time, width: bucketWidth)
        if own != bucket {
            result.add(
                .bucketArithmetic,
                "its time belongs in \(own)",
                id: row.id,
                bucket: bucket
            )
        }
        if !row.id.isVersion7
            || Bucket(containing: row.id.milliseconds, width: bucketWidth) != bucket
        {
            hasLooseIDs = true
        }
        if let reason = complaint(aboutFieldsOf: row) {
            result.add(.fields, reason, id: row.id, bucket: bucket)
        }
        if let reason = complaint(aboutPayloadOf: row) {
            result.add(.validJSON, "its payload \(reason)", id: row.id, bucket: bucket)
        }
    }

    private func complaint(aboutFieldsOf row: EventRow) -> String? {
        if row.stream.isEmpty { return "its stream is empty" }
        if row.type.isEmpty { return "its type is empty" }
        return EventID.times.contains(row.time) ? nil : "its time is outside the years 0001 to 9999"
    }

    private mutating func complaint(aboutPayloadOf row: EventRow) -> String? {
        // SQLite's memory ends with the text, and the parser looks further.
        padded.removeAll(keepingCapacity: true)
        padded.append(contentsOf: row.payload)
        padded.append(contentsOf: repeatElement(0, count: PayloadParser.padding))
        let length = row.payload.count
        return padded.withUnsafeBytes {
            reader.open(UnsafeRawBufferPointer(rebasing: $0[..<length]))
        }
    }
}
