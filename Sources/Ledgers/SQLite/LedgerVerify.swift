internal import LedgerKit
package import ProjectionKit

/// The findings of a check of a whole ledger.
package struct LedgerVerify: Hashable, Sendable {
    /// What can be wrong.
    package enum Check: String, CaseIterable, Sendable {
        /// The file can be read, and its tables are those of a ledger.
        case file
        /// No log is missing.
        case log
        /// What the file says of itself.
        case header
        /// Every event is what was appended.
        case content
        /// No event is missing, and each stands where it was appended.
        case order
        /// The table of buckets agrees with the events.
        case buckets
        /// Every id can be found, and none names two events.
        case ids
        /// What was imported.
        case imports
    }

    /// One thing that is wrong.
    package struct Finding: Hashable, Sendable, CustomStringConvertible {
        /// Which check found it.
        package let check: Check
        /// The events, by their numbers, if it is the fault of some.
        package let events: ClosedRange<Int64>?
        /// The bucket that the first of them is filed in.
        package let bucket: Bucket?
        /// What is wrong, as a clause; never the content.
        package let reason: String

        /// `Event 17 in the bucket […): its content is not what was appended`.
        package var description: String {
            guard let events else { return reason }
            let name =
                events.count == 1
                ? "Event \(events.lowerBound)"
                : "Events \(events.lowerBound) to \(events.upperBound)"
            return name + (bucket.map { " in the bucket \($0)" } ?? "") + ": \(reason)"
        }
    }

    /// How many findings are listed.
    package static let listed = 20

    /// Events that are whole.
    package internal(set) var events = 0
    /// Events that the ledger must have.
    package internal(set) var expected = 0
    /// The first findings.
    package internal(set) var findings: [Finding] = []
    /// All findings, by check; a check that found nothing is absent.
    package internal(set) var counts: [Check: Int] = [:]
    /// What SQLite says of space that nothing is read from: no event depends on it, and writing may.
    package internal(set) var remarks: [String] = []

    /// Whether nothing is wrong.
    package var isSound: Bool { counts.isEmpty }

    /// Reads the whole ledger.
    ///
    /// Blocks. Writers go on meanwhile: what they append is not looked at.
    ///
    /// - Parameters:
    ///   - path: Where the ledger is.
    ///   - progress: Called with the number of events read so far, every few thousand. What it
    ///     throws ends the check.
    /// - Returns: The findings.
    /// - Throws: ``LedgerError`` when it is no ledger of this format; what `progress` throws.
    package static func run(
        path: String,
        progress: (Int) throws -> Void = { _ in }
    ) throws -> LedgerVerify {
        var result = LedgerVerify()
        do {
            try LedgerFile.withLedger(path: path, mode: .read, demanding: .readable) {
                var work = try LedgerCheck($0, $1, result)
                try work.run(progress)
                result = work.result
            }
        } catch LedgerError.damaged(_, let reason) {
            result.add(.file, "the file cannot be read: \(reason)")
        }
        return result
    }

    mutating func add(
        _ check: Check,
        _ reason: String,
        events: ClosedRange<Int64>? = nil,
        bucket: Bucket? = nil
    ) {
        counts[check, default: 0] += 1
        guard findings.count < Self.listed else { return }
        findings.append(Finding(check: check, events: events, bucket: bucket, reason: reason))
    }
}

/// The checks, one after the other.
private struct LedgerCheck {
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
        try guarding(.file) { try $0.checkPages() }
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
        let marks = try database.integer(
            """
            SELECT count(*) FROM main.log_state
            WHERE is_open = 1 OR is_open = 0 AND inode = 0 AND name = ''
            """
        )
        if marks != 1 { result.add(.log, "what the file says of its log is not what was written") }
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

/// The buckets as the events make them.
private struct BucketCheck {
    private let filing: Filing
    private var made: [Int64: Filing.Row] = [:]
    private var damaged: Set<Int64> = []
    private var start: Int64?
    /// Whether events before the next one are not known.
    private var hasGap = false

    init(width: Int64) {
        filing = Filing(width: width)
    }

    mutating func add(_ row: EventRow, isWhole: Bool) -> Bucket {
        let start = filing.bucketStart(of: row.time, after: start)
        // The time of a damaged event is not known, and so not its bucket.
        guard isWhole else {
            if let own = self.start { damaged.insert(own) }
            hasGap = true
            return Bucket(start: self.start ?? start, width: filing.width)
        }
        if hasGap { damaged.insert(start) }
        hasGap = false
        self.start = start
        made[start, default: Filing.Row(start: start, firstSequence: row.sequence)].add(
            checksum: row.checksum,
            bytes: row.texts.count + row.type.count
        )
        return Bucket(start: start, width: filing.width)
    }

    /// Events that could not be read come next.
    mutating func forget() {
        if let start { damaged.insert(start) }
        hasGap = true
    }

    /// Where events are damaged or missing, that is said already, and their buckets cannot agree.
    func compare(with found: [Filing.Row], _ result: inout LedgerVerify) {
        let explained = result.counts[.content] ?? result.counts[.order] ?? result.counts[.file]
        var known: Set<Int64> = []
        for row in found {
            known.insert(row.start)
            guard !damaged.contains(row.start) else { continue }
            let bucket = Bucket(start: row.start, width: filing.width)
            guard let own = made[row.start] else {
                guard explained == nil else { continue }
                result.add(.buckets, "the bucket \(bucket) is listed, and no event is filed in it")
                continue
            }
            guard own != row else { continue }
            result.add(
                .buckets,
                "the list of buckets has other numbers than the events of \(bucket)"
            )
        }
        for row in made.values.sorted(by: { $0.start < $1.start }) where !known.contains(row.start)
        {
            let bucket = Bucket(start: row.start, width: filing.width)
            result.add(.buckets, "the bucket \(bucket) is not listed, and has events")
        }
    }
}

extension IDIndex.Entry {
    /// A number that tells entries apart, to be summed.
    fileprivate var digest: UInt64 {
        withUnsafeBytes(of: (hash.littleEndian, sequence.littleEndian)) { XXHash.of($0, seed: 1) }
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

/// Reads all entries of the index of ids in the order of their hashes.
private struct IDScan {
    private let database: SQLiteDatabase
    private let end: Int64
    private(set) var sum: UInt64 = 0
    private(set) var count = 0

    init(_ database: SQLiteDatabase, end: Int64) {
        self.database = database
        self.end = end
    }

    mutating func run(_ result: inout LedgerVerify) throws {
        let runs = try IDRun.all(in: database)
        checkRuns(runs, &result)
        var recent = try recentEntries()
        // Chunks of all runs that cover the same hashes come together.
        let bits = runs.map(\.prefixBits).max() ?? 0
        var cursors = try runs.map { try IDCursor($0, in: database) }
        for group in 0..<(UInt64(1) << UInt64(bits)) {
            let limit =
                bits == 0 ? UInt64.max : (group << UInt64(64 - bits)) | (.max >> UInt64(bits))
            var entries: [IDIndex.Entry] = []
            for index in cursors.indices {
                try cursors[index].take(through: limit, into: &entries)
            }
            while let next = recent.last, next.hash <= limit { entries.append(recent.removeLast()) }
            try check(entries.sorted { $0.hash < $1.hash }, &result)
        }
        for cursor in cursors where cursor.problem != nil || !cursor.isAtEnd {
            result.add(.ids, "a run of the index of ids \(cursor.problem ?? "is out of order")")
        }
        let chunks = try database.integer("SELECT count(*) FROM main.id_chunks") ?? 0
        guard chunks != cursors.reduce(0, { $0 + $1.chunks }) else { return }
        result.add(.ids, "the index of ids has chunks that belong to no run")
    }

    private func checkRuns(_ runs: [IDRun], _ result: inout LedgerVerify) {
        for run in runs {
            let target = run.mergedInto.map { number in runs.first { $0.number == number } }
            if let target, target?.mergedThrough == nil {
                result.add(.ids, "a run of the index of ids is merged into one that is not there")
            }
        }
    }

    /// In descending order.
    private func recentEntries() throws -> [IDIndex.Entry] {
        let statement = try database.prepare("SELECT hash, sequence FROM main.recent_ids")
        var entries: [IDIndex.Entry] = []
        while try statement.step() {
            entries.append(
                IDIndex.Entry(
                    hash: UInt64(bitPattern: statement.integer(0)),
                    sequence: statement.integer(1)
                )
            )
        }
        return entries.sorted { $0.hash > $1.hash }
    }

    private mutating func check(
        _ entries: [IDIndex.Entry],
        _ result: inout LedgerVerify
    ) throws {
        for (index, entry) in entries.enumerated() where entry.sequence <= end {
            sum &+= entry.digest
            count += 1
            guard index > 0, entries[index - 1].hash == entry.hash else { continue }
            let before = entries[index - 1].sequence
            guard try id(of: before) == id(of: entry.sequence) else { continue }
            result.add(
                .ids,
                "its id is that of event \(before), too",
                events: entry.sequence...entry.sequence
            )
        }
    }

    private func id(of sequence: Int64) throws -> [UInt8] {
        let statement = try database.prepare("SELECT id FROM main.events WHERE sequence = ?1")
        statement.bind(sequence, at: 1)
        return try statement.step() ? Array(statement.text(0)) : Array("\(sequence)".utf8)
    }
}

/// Reads the entries of a run.
private struct IDCursor {
    private let run: IDRun
    private let statement: SQLiteStatement
    private var entries: ArraySlice<IDIndex.Entry> = []
    private var isLast = false
    private var last: UInt64 = 0
    private var taken = 0
    private(set) var chunks: Int64 = 0
    /// What is wrong with the run, as a clause.
    private(set) var problem: String?

    init(_ run: IDRun, in database: SQLiteDatabase) throws {
        self.run = run
        statement = try database.prepare(
            "SELECT place, ids FROM main.id_chunks WHERE place >= ?1 AND place < ?2 ORDER BY place"
        )
        statement.bind(run.place(of: 0), at: 1)
        statement.bind(run.place(of: 0) + (1 << IDIndex.placeBits), at: 2)
    }

    var isAtEnd: Bool {
        guard isLast, entries.isEmpty else { return false }
        // One that is being merged, or was partly merged into another, has some of them.
        return run.mergedInto != nil || run.mergedThrough != nil || taken == run.ids
    }

    mutating func take(through limit: UInt64, into taken: inout [IDIndex.Entry]) throws {
        while try fill() {
            let fitting = entries.prefix { $0.hash <= limit }
            taken.append(contentsOf: fitting)
            entries = entries.dropFirst(fitting.count)
            self.taken += fitting.count
            guard entries.isEmpty else { return }
        }
    }

    private mutating func fill() throws -> Bool {
        while entries.isEmpty, !isLast {
            guard try statement.step() else {
                isLast = true
                break
            }
            chunks += 1
            let chunk = IDEntries(statement.blob(1))
            if !chunk.isWhole { problem = "has a chunk that is cut off" }
            entries = (0..<chunk.count).map { chunk[$0] }[...]
            let prefix = statement.integer(0) - run.place(of: 0)
            for entry in entries {
                if entry.hash < last || run.prefix(of: entry.hash) != prefix {
                    problem = "is out of order"
                }
                last = entry.hash
            }
        }
        return !entries.isEmpty
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
        while try statement.step() {
            for line in statement.string(0).split(separator: "\n") {
                check(line)
            }
        }
    }

    private mutating func check(_ line: Substring) {
        guard line != "ok", !line.hasPrefix("*** in database") else { return }
        let astray = [
            "out of order", "missing from index", "wrong # of entries", "depth differs",
            "non-unique", "NULL value", "malformed", "unable to get", "btreeInitPage",
            "invalid page",
            "unexpected row",
        ]
        let isOfFreeSpace = line.hasPrefix("Main freelist") || line.hasPrefix("Freelist")
        if !isOfFreeSpace, astray.contains(where: { line.contains($0) }) {
            result.add(.file, "SQLite's integrity check says: \(line)")
        } else if result.remarks.count < LedgerVerify.listed {
            result.remarks.append(String(line))
        }
    }
}
