/// What the file itself has, its log apart.
///
/// The pages are read past SQLite, by the connection's own descriptor: to open and close the file once
/// more would give up this process' locks on it (https://www.sqlite.org/howtocorrupt.html, section 2.2).
struct MergedFile {
    private let database: SQLiteDatabase

    init(in database: SQLiteDatabase) {
        self.database = database
    }

    /// The number of the last event in the file; nil when it has none, or when that cannot be told, as
    /// while a log is being merged.
    func lastEvent() throws -> Int64? {
        guard var page = try root(of: "events") else { return nil }
        var bytes = try emptyPage()
        // A tree of so many levels would have more pages than a file can.
        for _ in 0..<12 {
            guard read(&bytes, page) else { return nil }
            // https://www.sqlite.org/fileformat2.html, section 1.6.
            switch bytes[0] {
            case 5: page = Int64(Self.number(bytes, 8, 4))
            case 13: return Self.lastKey(of: bytes)
            default: return nil
            }
        }
        return nil
    }

    /// Whether it says that there is a log; false when that cannot be told.
    func announcesLog() throws -> Bool { try logState()?.isOpen == true }

    /// The beginning of a row of `log_state`.
    struct Mark: Equatable {
        let isOpen: Bool
        let file: Int64
        let commits: Int64
    }

    /// What it says of its log; nil when that cannot be told.
    func logState() throws -> Mark? {
        var bytes = try emptyPage()
        guard let page = try root(of: "log_state"), read(&bytes, page) else { return nil }
        return Self.mark(in: bytes)
    }

    /// What the log says first; nil where it has no such page.
    func firstLogState() throws -> Mark? {
        guard let page = try root(of: "log_state") else { return nil }
        return LogFile(of: database.path).firstVersion(ofPage: page).flatMap { Self.mark(in: $0) }
    }

    private static func mark(in bytes: [UInt8]) -> Mark? {
        guard bytes.count >= 512, bytes[0] == 13, Self.number(bytes, 3, 2) == 1 else { return nil }
        var offset = Self.number(bytes, 8, 2)
        // The length of the row and its key; then its head, with the types of its values, and the
        // values, of which the key has none there (section 2.1).
        for _ in 0..<2 where Self.varint(bytes, &offset) == nil { return nil }
        let head = offset
        guard let length = Self.varint(bytes, &offset), Self.varint(bytes, &offset) != nil else {
            return nil
        }
        var place = head + Int(clamping: length)
        var values: [Int64] = []
        for _ in 0..<3 {
            guard let type = Self.varint(bytes, &offset),
                let value = Self.integer(bytes, &place, type)
            else { return nil }
            values.append(value)
        }
        guard (0...1).contains(values[0]) else { return nil }
        return Mark(isOpen: values[0] == 1, file: values[1], commits: values[2])
    }

    /// A whole number of a serial type.
    private static func integer(_ bytes: [UInt8], _ offset: inout Int, _ type: Int64) -> Int64? {
        let widths: [Int64: Int] = [1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8]
        // 8 and 9 are the numbers 0 and 1.
        if type == 8 || type == 9 { return type - 8 }
        guard let width = widths[type], offset + width <= bytes.count else { return nil }
        let bits = bytes[offset..<(offset + width)].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        offset += width
        let unused = UInt64(64 - 8 * width)
        return Int64(bitPattern: bits << unused) >> Int64(unused)
    }

    private func root(of table: String) throws -> Int64? {
        let statement = try database.prepare(
            "SELECT rootpage FROM main.sqlite_schema WHERE type = 'table' AND name = ?1"
        )
        statement.bind(copying: table, at: 1)
        return try statement.step() ? statement.integer(0) : nil
    }

    private func emptyPage() throws -> [UInt8] {
        let size = try database.integer("PRAGMA main.page_size") ?? 0
        return [UInt8](repeating: 0, count: max(512, Int(size)))
    }

    private func read(_ bytes: inout [UInt8], _ page: Int64) -> Bool {
        page > 1 && database.readFile(&bytes, at: (page - 1) * Int64(bytes.count))
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
