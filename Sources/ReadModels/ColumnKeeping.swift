import Foundation
import Postgres
import ProjectionKit
import Synchronization
import Wording

/// Which columns of a table may give back another value than was written.
///
/// A fold that goes on from stored rows is then not the fold that went on from its own. The server is
/// asked: a value of each type is written into a table of the same columns, and read back. Where a type
/// has a length or a scale, it depends on the value, and the type decides.
struct ColumnKeeping: Sendable {
    /// OID of the table.
    let table: UInt32
    let binding: TableBinding

    /// The columns.
    ///
    /// - Parameter connection: Inside or outside a transaction.
    /// - Returns: Their names, in the order of the binding.
    /// - Throws: ``ServerError``, ``BinaryRowsError``.
    func lossyColumns(on connection: PostgresConnection) async throws -> [String] {
        try await connection.undoing { connection in
            let probe = StagingTable("reprise_probe")
            try await probe.make(
                for: table,
                binding.columns,
                passing: binding.casts,
                onCommit: "DROP",
                on: connection
            )
            let limited = try await limitedColumns(of: probe, on: connection)
                .union(binding.casts.keys)
            let written = try binding.types.map(Self.field)
            let read = try await readBack(written, through: probe, on: connection)
            return zip(binding.columns, zip(written, read)).filter { column, fields in
                limited.contains(column) || fields.0 != fields.1
            }.map(\.0)
        }
    }

    /// What a plan says of the columns, and of keys whose collation takes different texts for the same.
    ///
    /// - Parameters:
    ///   - name: The table's name, unqualified.
    ///   - key: The columns of its key.
    ///   - connection: Inside a transaction.
    /// - Returns: A line each.
    /// - Throws: As ``lossyColumns(on:)``.
    func findings(
        of name: String,
        key: [String],
        on connection: PostgresConnection
    ) async throws -> [Finding] {
        let lossy = try await lossyColumns(on: connection).map { column in
            Finding(
                .ok,
                "\(name).\(column)",
                "it does not keep every value as it was written, so 'follow' and 'rebuild --resume' "
                    + "fold the ledger from its beginning and hold all rows in memory"
            )
        }
        return try await lossy + looseKeys(of: name, key, on: connection)
    }

    private func looseKeys(
        of name: String,
        _ key: [String],
        on connection: PostgresConnection
    ) async throws -> [Finding] {
        try await connection.query(
            """
            SELECT a.attname, a.attcollation::pg_catalog.regcollation AS collation
            FROM pg_catalog.pg_attribute AS a
            JOIN pg_catalog.pg_collation AS l ON l.oid = a.attcollation
                AND NOT l.collisdeterministic
            WHERE a.attrelid = $1 AND a.attname = ANY ($2::pg_catalog.text[]) ORDER BY 1
            """,
            [.int(Int64(table)), .texts(key)]
        ).rows.map { row in
            Finding(
                .warn,
                "\(name).\(try row.string("attname"))",
                "the collation \(try row.string("collation")) takes different texts for the same. They "
                    + "are different keys for the reducer, and rows with two such keys are refused"
            )
        }
    }

    /// Triggers of live tables that can change a row on its way in, which a rebuild loads without them.
    ///
    /// - Parameters:
    ///   - tables: OIDs.
    ///   - connection: Inside or outside a transaction.
    /// - Returns: A warning each.
    /// - Throws: ``ServerError``.
    static func triggers(
        on tables: [UInt32],
        _ connection: PostgresConnection
    ) async throws -> [Finding] {
        try await connection.query(triggersQuery, [.ints(tables.map { Int64($0) })]).rows.map {
            Finding(
                .warn,
                try $0.string("subject"),
                "a rebuild loads rows without it, and '\(ProgramName.current) follow' ends where it changes a "
                    + "declared column"
            )
        }
    }

    /// Row triggers before INSERT or UPDATE that are switched on, of the tables $1.
    static let triggersQuery = """
        SELECT pg_catalog.format('trigger %I on %s', t.tgname, t.tgrelid::pg_catalog.regclass)
            AS subject
        FROM pg_catalog.pg_trigger AS t
        WHERE t.tgrelid = ANY ($1::pg_catalog.oid[]) AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')
            AND t.tgtype & 3 = 3 AND t.tgtype & 20 > 0
        ORDER BY 1
        """

    /// Columns of a length or a scale: what that does depends on the value.
    private func limitedColumns(
        of probe: StagingTable,
        on connection: PostgresConnection
    ) async throws -> Set<String> {
        let rows = try await connection.query(
            """
            SELECT a.attname FROM pg_catalog.pg_attribute AS a
            JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid
            WHERE a.attrelid = $1::pg_catalog.regclass AND a.attnum > 0 AND a.atttypmod >= 0
                AND t.typname IN ('varchar', 'bpchar', 'numeric', '_varchar', '_bpchar', '_numeric')
            """,
            [.text(probe.name.sql)]
        ).rows
        return Set(try rows.map { try $0.string("attname") })
    }

    /// Writes a row of fields and reads it.
    ///
    /// - Returns: The fields, each behind its length.
    private func readBack(
        _ fields: [[UInt8]],
        through probe: StagingTable,
        on connection: PostgresConnection
    ) async throws -> [[UInt8]] {
        var buffer = RowBuffer(capacity: 1 << 10)
        buffer.appendCopyHeader()
        buffer.append(Int16(fields.count))
        for byte in fields.joined() { buffer.append(byte) }
        buffer.append(Int16(-1))
        let bytes = SentBytes(buffer: buffer)
        try await connection.copyIn("COPY \(probe.name.sql) FROM STDIN WITH (FORMAT binary)") {
            try bytes.send(by: $0)
        }
        let received = Mutex<[UInt8]>([])
        _ = try await connection.copyOut(
            "COPY \(probe.name.sql) TO STDOUT WITH (FORMAT binary)"
        ) { piece in received.withLock { $0.append(contentsOf: piece) } }
        var read: [[UInt8]] = []
        var parser = BinaryRows(fieldCount: fields.count)
        try received.withLock { $0 }.withUnsafeBytes { bytes in
            try parser.take(bytes) { row in
                read = row.map { field in
                    var buffer = RowBuffer(capacity: 64)
                    field.map { buffer.appendField($0) } ?? buffer.appendNull()
                    return Array(buffer.bytes)
                }
            }
        }
        return read
    }

    /// A value that a type is likely to change where it changes any: it has a fraction, blanks, or more
    /// than one spelling.
    private static func field(of type: ColumnType) throws -> [UInt8] {
        let text = " A  b\u{e9}e\u{301} "
        var buffer = RowBuffer(capacity: 64)
        let value: any ColumnValue =
            switch type {
            case .bool: true
            case .int2: Int16.max
            case .int4: Int32.max
            case .int8: Int64.max
            case .float4: Float(0.1)
            case .float8: 0.1
            case .numeric: Decimal(string: "1.2345678901234567") ?? 0
            // A text of one letter fits every length.
            case .varchar, .bpchar: "a"
            case .text, .citext, .passed: text
            case .xml: "<?xml version='1.0'?><a b='1'>\(text)</a>"
            case .bytea: Data([0, 0xff])
            case .uuid: UUID()
            case .date: Day(daysSince1970: 1)
            case .timestamp, .timestamptz: Timestamp(microseconds: 123_456)
            case .json, .jsonb: JSONText(#"{"b": 1.0,  "a": "\#(text)", "b": 1e0}"#)
            // Its labels are its values.
            case .enumeration: String?.none
            default: try array(of: type)
            }
        try value.encode(into: &buffer, as: type)
        return Array(buffer.bytes)
    }

    /// An array keeps what its elements keep.
    private static func array(of type: ColumnType) throws -> any ColumnValue {
        switch type {
        case .boolArray: [true]
        case .int2Array: [Int16.max]
        case .int4Array: [Int32.max]
        case .int8Array: [Int64.max]
        case .float4Array: [Float(0.1)]
        case .float8Array: [0.1]
        case .numericArray: [Decimal(string: "1.2345678901234567") ?? 0]
        case .textArray: [" A  b\u{e9}e\u{301} "]
        case .varcharArray, .bpcharArray: ["a"]
        case .byteaArray: [Data([0, 0xff])]
        case .uuidArray: [UUID()]
        case .dateArray: [Day(daysSince1970: 1)]
        case .timestampArray, .timestamptzArray: [Timestamp(microseconds: 123_456)]
        case .jsonArray, .jsonbArray: [JSONText(#"{"b": 1.0,  "a": 1, "b": 1e0}"#)]
        default: preconditionFailure("\(type) is no array.")
        }
    }
}
