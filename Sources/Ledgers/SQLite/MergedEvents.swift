/// What the file itself has of the events, its log apart.
///
/// The pages are read past SQLite, by the connection's own descriptor: to open and close the file once
/// more would give up this process' locks on it (https://www.sqlite.org/howtocorrupt.html, section 2.2).
struct MergedEvents {
    private let database: SQLiteDatabase

    init(in database: SQLiteDatabase) {
        self.database = database
    }

    /// The number of the last event in the file; nil when it has none, or when that cannot be told, as
    /// while a log is being merged.
    func last() throws -> Int64? {
        let pageSize = try database.integer("PRAGMA main.page_size") ?? 0
        let root = try database.integer(
            "SELECT rootpage FROM main.sqlite_schema WHERE type = 'table' AND name = 'events'"
        )
        guard var page = root, pageSize >= 512 else { return nil }
        var bytes = [UInt8](repeating: 0, count: Int(pageSize))
        // A tree of so many levels would have more pages than a file can.
        for _ in 0..<12 {
            guard page > 1, database.readFile(&bytes, at: (page - 1) * pageSize) else { return nil }
            // https://www.sqlite.org/fileformat2.html, section 1.6.
            switch bytes[0] {
            case 5: page = Int64(Self.number(bytes, 8, 4))
            case 13: return Self.lastKey(of: bytes)
            default: return nil
            }
        }
        return nil
    }

    /// The key of the last cell of a leaf of a table.
    private static func lastKey(of page: [UInt8]) -> Int64? {
        let cells = number(page, 3, 2)
        guard cells > 0, 8 + cells * 2 <= page.count else { return nil }
        var offset = number(page, 8 + (cells - 1) * 2, 2)
        // Behind the length of the row comes its key.
        guard varint(page, &offset) != nil else { return nil }
        return varint(page, &offset)
    }

    private static func number(_ bytes: [UInt8], _ offset: Int, _ count: Int) -> Int {
        bytes[offset..<(offset + count)].reduce(0) { $0 << 8 | Int($1) }
    }

    private static func varint(_ bytes: [UInt8], _ offset: inout Int) -> Int64? {
        var value: UInt64 = 0
        for index in 0..<9 {
            guard offset < bytes.count else { return nil }
            let byte = bytes[offset]
            offset += 1
            if index == 8 { return Int64(bitPattern: value << 8 | UInt64(byte)) }
            value = value << 7 | UInt64(byte & 0x7f)
            if byte < 0x80 { return Int64(bitPattern: value) }
        }
        return nil
    }
}
