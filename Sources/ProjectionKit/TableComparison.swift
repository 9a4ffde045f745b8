internal import Glibc

/// What came of comparing two tables of one row type.
package enum TableComparison: Equatable, Sendable {
    /// They hold the same rows. The digest is that of every table with these rows, in any order and
    /// in any process.
    case same(digest: String)
    /// They do not.
    case different(TableDifference)
}

/// How two tables of one row type differ.
package struct TableDifference: Equatable, Sendable {
    /// The table's name, unqualified.
    package let table: String
    /// Number of keys whose rows differ, or that only one of the two has.
    package let rows: Int
    /// The smallest of those keys, by its encoded bytes: `order_id = 5a1c…, line = 1`.
    package let key: String
    /// The columns in which its rows differ; none when only one of the two has it.
    package let columns: [String]
}

extension RowTable {
    package func comparison(with other: any FoldedTable) -> TableComparison {
        let other = same(other)
        var rows = RowComparison(Row.table)
        storage.forEachIndex { index in
            let row = storage.pointer(at: index)
            rows.add(UnsafeRawPointer(row), other.address(of: row.pointee.key))
        }
        other.storage.forEachIndex { index in
            let row = other.storage.pointer(at: index)
            if address(of: row.pointee.key) == nil { rows.add(UnsafeRawPointer(row), nil) }
        }
        return rows.result
    }

    private func address(of key: Row.Key) -> UnsafeRawPointer? {
        storage.index(of: key, hash: storage.hash(key))
            .map { UnsafeRawPointer(storage.pointer(at: $0)) }
    }
}

/// One row of a table, to be found again in other folds of the same projection.
package struct RowMark: Sendable {
    /// The table's name, unqualified.
    package let table: String
    /// Which row of the table it was, from 0.
    package let ordinal: Int
    /// The encoded columns of the row of the same key in a table of the same row type; nil where
    /// there is none.
    package let image: @Sendable (any LoadableTable) -> [UInt8]?
}

extension RowMark: Equatable {
    package static func == (left: RowMark, right: RowMark) -> Bool {
        left.table == right.table && left.ordinal == right.ordinal
    }
}

extension RowTable where Audience == TableAudience.Readers {
    package func mark(ofRow ordinal: Int) -> RowMark? {
        var found: Row.Key?
        var count = 0
        storage.forEachIndex { index in
            if count == ordinal { found = storage.pointer(at: index).pointee.key }
            count += 1
        }
        return found.map { mark(of: $0, ordinal) }
    }

    package func mark(ofKey fields: [UInt8], as types: [ColumnType]) -> RowMark? {
        let columns = Row.table.key.compactMap { name in
            Row.table.columns.firstIndex { $0.name == name }
        }
        var buffer = RowBuffer(capacity: fields.count)
        var found: Row.Key?
        var (count, ordinal) = (0, 0)
        storage.forEachIndex { index in
            let row = storage.pointer(at: index)
            defer { count += 1 }
            buffer.removeAll()
            for column in columns {
                let encode = Row.table.columns[column].encode
                guard (try? encode(UnsafeRawPointer(row), &buffer, types[column])) != nil else {
                    return
                }
            }
            if buffer.bytes.elementsEqual(fields) { (found, ordinal) = (row.pointee.key, count) }
        }
        return found.map { mark(of: $0, ordinal) }
    }

    private func mark(of key: Row.Key, _ ordinal: Int) -> RowMark {
        RowMark(table: name, ordinal: ordinal) { other in
            let row = (other as? Table<Row>)?.address(of: key)
            return row.map { RowComparison(Row.table).image(of: $0) }
        }
    }
}

/// Compares rows of any type; see ``RowEncoder`` for why it is not generic.
private struct RowComparison: ~Copyable {
    private struct Field {
        let column: String
        let type: ColumnType
        let encode: FieldEncoder
    }

    private struct Finding {
        /// The bytes of each key column.
        let keyBytes: [[UInt8]]
        let key: String
        let columns: [String]
    }

    private let table: String
    private let fields: [Field]
    private let keyFields: [Field]
    private var first = RowBuffer(capacity: 1 << 10)
    private var second = RowBuffer(capacity: 1 << 10)
    private var digest = RowDigest()
    private var different = 0
    private var smallest: Finding?

    init<Row: TableRow>(_ definition: TableDefinition<Row>) {
        // Working state has no real columns: the usual types stand for them.
        let fields = definition.columns.map { column in
            Field(
                column: column.name,
                type: column.value.types.first ?? .text,
                encode: column.encode
            )
        }
        table = definition.name
        self.fields = fields
        keyFields = definition.key.compactMap { name in fields.first { $0.column == name } }
    }

    var result: TableComparison {
        guard let smallest else { return .same(digest: digest.text) }
        return .different(
            TableDifference(
                table: table,
                rows: different,
                key: smallest.key,
                columns: smallest.columns
            )
        )
    }

    /// The encoded columns of a row.
    consuming func image(of row: UnsafeRawPointer) -> [UInt8] {
        Self.encode(fields, of: row, into: &first)
        return Array(first.bytes)
    }

    /// Takes up a row, and the one of the same key in the other table where there is one.
    mutating func add(_ row: UnsafeRawPointer, _ twin: UnsafeRawPointer?) {
        if let twin {
            Self.encode(fields, of: row, into: &first)
            Self.encode(fields, of: twin, into: &second)
            if Self.areEqual(first.bytes, second.bytes) { return digest.add(first.bytes) }
        }
        different += 1
        let keyBytes = keyFields.map { field in
            Self.encode([field], of: row, into: &first)
            return Array(first.bytes.dropFirst(4))
        }
        let isSmaller = smallest.map { finding in
            keyBytes.lexicographicallyPrecedes(finding.keyBytes) {
                $0.lexicographicallyPrecedes($1)
            }
        }
        guard isSmaller ?? true else { return }
        smallest = Finding(
            keyBytes: keyBytes,
            key: keyFields.map { "\($0.column) = \(text(of: $0, in: row))" }.joined(
                separator: ", "
            ),
            columns: twin.map { differingColumns(row, $0) } ?? []
        )
    }

    private mutating func differingColumns(
        _ row: UnsafeRawPointer,
        _ twin: UnsafeRawPointer
    ) -> [String] {
        var columns: [String] = []
        for field in fields {
            Self.encode([field], of: row, into: &first)
            Self.encode([field], of: twin, into: &second)
            if !Self.areEqual(first.bytes, second.bytes) { columns.append(field.column) }
        }
        return columns
    }

    private mutating func text(of field: Field, in row: UnsafeRawPointer) -> String {
        Self.encode([field], of: row, into: &first)
        let bytes = first.bytes
        let length = Int32(bigEndian: bytes.loadUnaligned(as: Int32.self))
        switch length {
        case -1: return "NULL"
        case Self.unencodable: return "a value that cannot be stored"
        default:
            return FieldText(UnsafeRawBufferPointer(rebasing: bytes.dropFirst(4)), as: field.type)
                .text
        }
    }

    /// The length in front of the reason why a value cannot be encoded.
    private static let unencodable: Int32 = -2

    private static func encode(
        _ fields: [Field],
        of row: UnsafeRawPointer,
        into buffer: inout RowBuffer
    ) {
        buffer.removeAll()
        for field in fields {
            let start = buffer.count
            do {
                try field.encode(row, &buffer, field.type)
            } catch {
                buffer.truncate(to: start)
                buffer.append(unencodable)
                for byte in "\(error)".utf8 { buffer.append(byte) }
            }
        }
    }

    private static func areEqual(
        _ left: UnsafeRawBufferPointer,
        _ right: UnsafeRawBufferPointer
    ) -> Bool {
        guard left.count == right.count else { return false }
        guard let leftStart = left.baseAddress, let rightStart = right.baseAddress else {
            return true
        }
        return memcmp(leftStart, rightStart, left.count) == 0
    }
}

/// A number that stands for a set of encoded rows, whatever their order.
private struct RowDigest {
    private var sum: UInt64 = 0

    /// Takes up a row.
    mutating func add(_ row: UnsafeRawBufferPointer) {
        // FNV-1a (G. Fowler, L. C. Noll, K.-P. Vo; RFC 9923): Swift's own hashes differ from one
        // process to the next.
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in row { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
        // Its bits are mixed before they are added up (S. Vigna, "splitmix64.c").
        hash = (hash ^ (hash >> 30)) &* 0xbf58_476d_1ce4_e5b9
        hash = (hash ^ (hash >> 27)) &* 0x94d0_49bb_1331_11eb
        sum &+= hash ^ (hash >> 31)
    }

    /// 16 hexadecimal digits.
    var text: String {
        let digits = String(sum, radix: 16)
        return String(repeating: "0", count: 16 - digits.utf8.count) + digits
    }
}
