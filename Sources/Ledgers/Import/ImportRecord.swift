internal import ProjectionKit

/// What a ledger knows of an import: a row of `imports`.
struct ImportRecord: Hashable {
    /// 0 for a row that is not written yet.
    var number: Int64 = 0
    /// What the user calls a file that grows; nil for others.
    var source: String?
    /// The path, or `standard input`.
    var file: String
    /// Bytes that `headDigest` is of: the first ones, at most ``RecordReader/headLength``.
    var headBytes = 0
    var headDigest: [UInt8] = []
    /// What ``RecordEnds`` knows of the records in those bytes.
    var headEnds: [UInt8] = []
    /// Bytes of the decompressed text through the last record that was read.
    var bytes = 0
    var digest: [UInt8] = []
    /// Records that were read, those set aside among them.
    var records = 0
    /// Events that were stored or there already.
    var events = 0
    /// Those of them without an id.
    var unnamed = 0
    /// Records that were set aside.
    var setAside = 0
    /// How much of the files of bad records was written by then.
    var badFiles = BadFileMarks()
    /// Whether the file was read to its end.
    var isComplete = false
    /// Microseconds since 1970.
    var beganAt: Int64 = 0
    var endedAt: Int64 = 0
    /// Whether the row is what was written.
    var isSound = true

    private static let columns = """
        import, source, file, head_bytes, head_digest, head_ends, bytes, digest, records, events, \
        unnamed, set_aside, bad_inode, bad_bytes, reasons_inode, reasons_bytes, is_complete, \
        began_at, ended_at, checksum
        """

    /// All rows, in the order in which they were first written; or `most` of those after a number.
    static func all(
        in database: SQLiteDatabase,
        after number: Int64 = .min,
        most: Int64 = .max
    ) throws -> [ImportRecord] {
        let statement = try database.prepare(
            "SELECT \(columns) FROM main.imports WHERE import > ?1 ORDER BY import LIMIT ?2"
        )
        statement.bind(number, at: 1)
        statement.bind(most, at: 2)
        var records: [ImportRecord] = []
        while try statement.step() { records.append(ImportRecord(statement)) }
        return records
    }

    init(source: String?, file: String, beganAt: Int64) {
        self.source = source
        self.file = file
        self.beganAt = beganAt
    }

    private init(_ row: SQLiteStatement) {
        number = row.integer(0)
        source = row.isNull(1) ? nil : row.string(1)
        file = row.string(2)
        headBytes = Int(row.integer(3))
        headDigest = Array(row.blob(4))
        headEnds = Array(row.blob(5))
        bytes = Int(row.integer(6))
        digest = Array(row.blob(7))
        records = Int(row.integer(8))
        events = Int(row.integer(9))
        unnamed = Int(row.integer(10))
        setAside = Int(row.integer(11))
        badFiles.records = FileMark(inode: row.integer(12), bytes: row.integer(13))
        badFiles.reasons = FileMark(inode: row.integer(14), bytes: row.integer(15))
        isComplete = row.integer(16) != 0
        beganAt = row.integer(17)
        endedAt = row.integer(18)
        // A flag other than 0 and 1 was not written either.
        isSound = row.integer(19) == checksum && (0...1).contains(row.integer(16))
    }

    /// XXH3 over the columns before it, as text with a line for each.
    private var checksum: Int64 {
        var text = "\(number)\n"
        // A name can hold a line end, but not be as long as it says and another one.
        text += source.map { "\($0.utf8.count) \($0)\n" } ?? "-\n"
        text += "\(file.utf8.count) \(file)\n\(headBytes)\n\(headDigest)\n\(headEnds)\n"
        text += "\(bytes)\n\(digest)\n"
        text += "\(records)\n\(events)\n\(unnamed)\n\(setAside)\n"
        for mark in [badFiles.records, badFiles.reasons] {
            text += "\(mark.inode)\n\(mark.bytes)\n"
        }
        text += "\(isComplete)\n\(beganAt)\n\(endedAt)\n"
        return text.withUTF8 { Int64(bitPattern: XXHash.of(UnsafeRawBufferPointer($0), seed: 0)) }
    }

    /// Writes the row, under a new number where it has none.
    mutating func write(to database: SQLiteDatabase) throws {
        if number == 0 {
            let last = try database.integer("SELECT max(import) FROM main.imports") ?? 0
            number = last + 1
        }
        let statement = try database.prepare(
            """
            INSERT OR REPLACE INTO main.imports (\(Self.columns)) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7,
                ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)
            """
        )
        statement.bind(number, at: 1)
        statement.bind(copying: source, at: 2)
        statement.bind(copying: file, at: 3)
        statement.bind(Int64(headBytes), at: 4)
        statement.bind(copying: headDigest, at: 5)
        statement.bind(copying: headEnds, at: 6)
        statement.bind(Int64(bytes), at: 7)
        statement.bind(copying: digest, at: 8)
        statement.bind(Int64(records), at: 9)
        statement.bind(Int64(events), at: 10)
        statement.bind(Int64(unnamed), at: 11)
        statement.bind(Int64(setAside), at: 12)
        statement.bind(badFiles.records.inode, at: 13)
        statement.bind(badFiles.records.bytes, at: 14)
        statement.bind(badFiles.reasons.inode, at: 15)
        statement.bind(badFiles.reasons.bytes, at: 16)
        statement.bind(isComplete ? 1 : 0, at: 17)
        statement.bind(beganAt, at: 18)
        statement.bind(endedAt, at: 19)
        statement.bind(checksum, at: 20)
        try statement.run()
    }

    /// Whether the beginning of a text is that of what was imported.
    func matches(head: UnsafeRawBufferPointer) -> Bool {
        guard isSound, headBytes > 0, headBytes <= head.count else { return false }
        let digest = StreamDigest()
        digest.add(UnsafeRawBufferPointer(rebasing: head[..<headBytes]))
        return digest.value == headDigest
    }
}
