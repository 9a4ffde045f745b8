internal import LedgerKit
internal import ProjectionKit

/// The checks, one after the other.
struct LedgerCheck {
    var result: LedgerVerify

    private let database: SQLiteDatabase
    private let header: LedgerFile.Header
    private let findOne: SQLiteStatement
    /// What the index of ids must have, as a sum; ids are counted in `ids`.
    private var idSum: UInt64 = 0
    private var ids = 0
    /// Of the last event when the check began; what comes later is not looked at.
    private var end: Int64 = 0
    /// Whether an event was found by its number alone.
    private var hasLostItsWay = false
    /// The newest bucket when the check began.
    private var lastBucket: Filing.Row?

    init(_ database: SQLiteDatabase, _ header: LedgerFile.Header, _ result: LedgerVerify) throws {
        self.database = database
        findOne = try database.prepare(
            "SELECT \(EventRows.columns) FROM main.events WHERE sequence = ?1"
        )
        self.header = header
        self.result = result
    }

    mutating func run(_ progress: (Int) throws -> Void) throws {
        try checkFile()
        try database.reading {
            end = try database.integer("SELECT max(sequence) FROM main.events") ?? 0
            lastBucket = try Filing.bucket(at: .max, in: database)
            try checkLog()
        }
        result.expected = Int(max(end, lastBucket?.lastSequence ?? 0))
        try checkEvents(progress)
        try guarding(.ids) { try $0.checkIDs() }
        try guarding(.imports) { try $0.checkImports() }
        try checkPages()
    }

    /// Notes what cannot be read, and lets the other checks be made.
    private mutating func guarding(
        _ check: LedgerVerify.Check,
        _ body: (inout LedgerCheck) throws -> Void
    ) throws {
        do {
            try body(&self)
        } catch LedgerError.damaged(_, let reason) {
            result.add(check, "the file cannot be read further: \(reason)")
        }
    }

    private mutating func checkLog() throws {
        let log = "'\(database.path)-wal'"
        switch try LedgerFile.log(of: database) {
        case .complete: break
        case .merged:
            result.remarks.append(
                "the log \(log) is gone; another SQLite program merged it, if nobody took it away"
            )
        case .missing:
            result.add(
                .log,
                "its writer left events in the log \(log), which is not there: events behind "
                    + "\(end) may be missing"
            )
        }
        if try !LogState(in: database).isSound {
            result.add(.log, "what the file says of its log is not what was written")
        }
        if let reason = try LedgerFile.foreignLog(of: database) {
            result.add(.log, "the log \(log) is older than the file, or another's: \(reason)")
        }
        if let damage = LogFile(of: database.path).damage() { result.add(.log, damage) }
    }

    private mutating func checkFile() throws {
        if try !LedgerFile.hasSoundHeader(database) {
            result.add(.header, "the file's header is not what was written when it was made")
        }
        for difference in try LedgerFile.schemaDifferences(database) {
            result.add(.file, difference)
        }
    }
}

extension LedgerCheck {
    /// Reads every event, and holds the buckets against them.
    private mutating func checkEvents(_ progress: (Int) throws -> Void) throws {
        var buckets = BucketCheck(width: header.bucketWidth)
        var last: Int64 = 0
        while last < end {
            do {
                let rows = try EventRows(after: last, through: end, in: database)
                while try rows.nextPage({ row in
                    check(row, &buckets)
                    last = row.sequence
                    return true
                }) > 0 {
                    try progress(Int(last))
                }
            } catch LedgerError.damaged(_, let reason) {
                last = try skipDamage(after: last, reason, &buckets)
            }
        }
        if let lastBucket, lastBucket.lastSequence > end {
            missing((end + 1)...lastBucket.lastSequence)
        }
        try guarding(.buckets) { check in
            let statement = try check.database.prepare(
                "SELECT \(Filing.Row.columns) FROM main.buckets WHERE first_sequence <= ?1 "
                    + "ORDER BY start_ms"
            )
            statement.bind(max(check.end, check.lastBucket?.lastSequence ?? 0), at: 1)
            var found: [Filing.Row] = []
            while try statement.step() {
                let row = Filing.Row(statement)
                // The newest bucket may have grown since.
                found.append(row.start == check.lastBucket?.start ? check.lastBucket ?? row : row)
            }
            buckets.compare(with: found, &check.result)
            try check.checkSearch(for: found)
        }
    }

    /// Looks every bucket up by its first event, as readers do.
    private mutating func checkSearch(for buckets: [Filing.Row]) throws {
        let find = try database.prepare(
            "SELECT start_ms FROM main.buckets WHERE first_sequence = ?1"
        )
        for row in buckets {
            find.bind(row.firstSequence, at: 1)
            defer { find.reset() }
            guard try !find.step() || find.integer(0) != row.start else { continue }
            let bucket = Bucket(start: row.start, width: header.bucketWidth)
            result.add(.buckets, "the bucket \(bucket) is not found by its first event")
        }
    }

    private mutating func check(_ row: EventRow, _ buckets: inout BucketCheck) {
        let isWhole = row.computedChecksum == row.checksum
        let bucket = buckets.add(row, isWhole: isWhole)
        guard isWhole else {
            result.add(
                .content,
                "it is not what was appended",
                events: row.sequence...row.sequence,
                bucket: bucket
            )
            return
        }
        result.events += 1
        guard row.texts.id.baseAddress != nil else { return }
        ids += 1
        let hash = IDIndex.hash(row.texts.id, seed: header.idSeed)
        idSum &+= IDIndex.Entry(hash: hash, sequence: row.sequence).digest
    }

    private mutating func missing(_ events: ClosedRange<Int64>) {
        result.add(
            .order,
            events.count == 1 ? "it is missing" : "they are missing",
            events: events,
            bucket: listedBucket(of: events.lowerBound)
        )
    }

    /// Events that are not there, or that lie where the file cannot be read.
    private mutating func lacking(_ events: ClosedRange<Int64>, _ reason: String) {
        guard isUnreadable(events.lowerBound) else { return missing(events) }
        result.add(
            .file,
            "\(events.count == 1 ? "it" : "they") cannot be read: \(reason)",
            events: events,
            bucket: listedBucket(of: events.lowerBound)
        )
    }

    private func isUnreadable(_ sequence: Int64) -> Bool {
        findOne.reset()
        findOne.bind(sequence, at: 1)
        do {
            return try findOne.step()
        } catch {
            return true
        }
    }

    /// The bucket that an event is filed in by the table of buckets; nil where that cannot be read.
    private func listedBucket(of sequence: Int64) -> Bucket? {
        // The event is reported either way.
        let row = try? Filing.bucket(at: sequence, in: database)
        return row.map { Bucket(start: $0.start, width: header.bucketWidth) }
    }

    /// Goes to the next event that can be read behind a place that cannot.
    private mutating func skipDamage(
        after last: Int64,
        _ reason: String,
        _ buckets: inout BucketCheck
    ) throws -> Int64 {
        // An event may be found by its number where going on from the one before it fails.
        if let row = try readable(last + 1) {
            if !hasLostItsWay {
                result.add(
                    .order,
                    "it is whole, and reading does not get to it from the one before it",
                    events: row.sequence...row.sequence,
                    bucket: listedBucket(of: row.sequence)
                )
            }
            // The next ones are likely to share the page.
            hasLostItsWay = true
            check(row, &buckets)
            return last + 1
        }
        buckets.forget()
        var step: Int64 = 1
        var next = last + 1
        while next < end {
            next = min(end, next + step)
            step *= 2
            guard try readable(next) != nil else { continue }
            // The first one that can be read lies between the last two.
            var (low, high) = (max(last + 1, next - step / 2), next)
            while low + 1 < high {
                let middle = low + (high - low) / 2
                if try readable(middle) != nil { high = middle } else { low = middle }
            }
            lacking((last + 1)...(high - 1), reason)
            return high - 1
        }
        lacking((last + 1)...end, reason)
        return end
    }

    /// The event of a number, found by that alone; nil when it cannot be read.
    private func readable(_ sequence: Int64) throws -> EventRow? {
        do {
            findOne.reset()
            findOne.bind(sequence, at: 1)
            guard try findOne.step() else { return nil }
            let row = EventRow(findOne)
            return row.sequence == sequence ? row : nil
        } catch LedgerError.damaged {
            return nil
        }
    }
}

extension LedgerCheck {
    /// Holds the index of ids against the events.
    private mutating func checkIDs() throws {
        // Of one state: merging moves entries from run to run.
        let (sum, count) = try database.reading {
            var scan = IDScan(database, end: end)
            try scan.run(&result)
            return (scan.sum, scan.count)
        }
        // Where events are damaged, their ids are as well.
        guard result.counts[.content] == nil, result.counts[.order] == nil,
            result.counts[.file] == nil
        else { return }
        if sum != idSum || count != ids {
            result.add(
                .ids,
                "the index of ids is not that of the events: ids that are there may be stored again"
            )
        }
    }
}

extension LedgerCheck {
    private mutating func checkImports() throws {
        for record in try ImportRecord.all(in: database) where !record.isSound {
            result.add(.imports, "what is known of an import is not what was written")
        }
    }

    /// SQLite's own check of its pages.
    ///
    /// What is read from was read, so only what leads a search astray is damage; what is wrong with
    /// free space is a remark.
    private mutating func checkPages() throws {
        let statement = try database.prepare("PRAGMA main.integrity_check(100)")
        do {
            while try statement.step() {
                for line in statement.string(0).split(separator: "\n") { check(line) }
            }
        } catch LedgerError.damaged(_, let reason) {
            // All that is read from was read before.
            result.remarks.append("SQLite's own check ended early: \(reason)")
        }
    }

    private mutating func check(_ line: Substring) {
        guard line != "ok", !line.hasPrefix("*** in database") else { return }
        let astray = [
            "out of order", "missing from index", "wrong # of entries", "depth differs",
            "non-unique",
            "NULL value", "unexpected row",
        ]
        if astray.contains(where: { line.contains($0) }) {
            result.add(.file, "SQLite's integrity check says: \(line)")
        } else if result.remarks.count < LedgerVerify.listed {
            result.remarks.append(String(line))
        }
    }
}
