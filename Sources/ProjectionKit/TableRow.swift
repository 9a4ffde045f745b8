/// A row of a read model's table.
///
/// The type declares its table, its key and its columns once, in ``table``. Its Swift types are
/// compared with the real columns before anything is read.
///
/// ```swift
/// struct OrderSummary: TableRow {
///     var orderID: UUID
///     var customerID: Int64
///     var paidCents: Int64 = 0
///     var key: UUID { orderID }
///
///     static let table = TableDefinition<OrderSummary>("order_summary", key: "order_id") {
///         Column("order_id", \.orderID)
///         Column("customer_id", \.customerID)
///         Column("paid_cents", \.paidCents)
///     }
/// }
/// ```
public protocol TableRow: Sendable {
    /// What identifies a row: the key column's type, or a `Hashable` struct of several.
    associatedtype Key: Hashable & Sendable

    /// The row's table and columns.
    static var table: TableDefinition<Self> { get }

    /// The row's key. It must not change while the row is in a ``Table``.
    var key: Key { get }
}

/// The name of a table, its key and its columns.
public struct TableDefinition<Row: TableRow>: Sendable {
    /// The table's name, unqualified, exactly as PostgreSQL stores it.
    public let name: String
    /// The key's column names.
    public let key: [String]
    /// The columns that the rebuild writes, in any order.
    public let columns: [Column<Row>]
    /// What is wrong with the declaration, as a sentence; nil when nothing is.
    let mistake: String?

    /// Declares a table.
    ///
    /// A column that is declared twice and a key that is no column are mistakes: a test of the
    /// projection traps with a sentence, and each command ends with status 2 and that sentence.
    ///
    /// - Parameters:
    ///   - name: Its name, unqualified.
    ///   - key: The columns of ``TableRow/key``, which must be unique together.
    ///   - columns: One ``Column`` for each column that the rebuild writes.
    public init(
        _ name: String,
        key: String...,
        @ColumnList<Row> columns: () -> [Column<Row>]
    ) {
        self.name = name
        self.key = key
        self.columns = columns()
        mistake = Self.mistake(in: name, key, self.columns)
    }

    private static func mistake(
        in table: String,
        _ key: [String],
        _ columns: [Column<Row>]
    ) -> String? {
        var known: Set<String> = []
        if let twice = columns.first(where: { !known.insert($0.name).inserted }) {
            return "The table '\(table)' declares the column '\(twice.name)' twice."
        }
        if key.isEmpty { return "The table '\(table)' has no key." }
        if let passed = columns.first(where: { $0.value.passedAs != nil && key.contains($0.name) })
        {
            return "The table '\(table)' has the key '\(passed.name)', whose values travel as text "
                + "(as: \"\(passed.value.passedAs ?? "")\"): two texts may be one value."
        }
        return key.first { !known.contains($0) }.map { missing in
            "The table '\(table)' has the key '\(missing)', which is none of its columns: "
                + "\(columns.map(\.name).joined(separator: ", "))."
        }
    }
}

/// Gathers the columns of a ``TableDefinition``.
@resultBuilder
public enum ColumnList<Row: TableRow> {
    /// Gives each column its row type.
    public static func buildExpression(_ column: Column<Row>) -> Column<Row> { column }
    /// Gathers the columns.
    public static func buildBlock(_ columns: Column<Row>...) -> [Column<Row>] { columns }
}

/// One column of a table and the property that fills it.
public struct Column<Row: TableRow>: Sendable {
    /// The column's name, exactly as PostgreSQL stores it.
    public let name: String
    /// The Swift side, to compare with the real column.
    package let value: ColumnValueDescription
    /// Appends the property of the row at an address as one field.
    let encode: FieldEncoder
    /// Where the property stands in the row; nil when it is computed or observed.
    let offset: Int?
    /// What can be done with the property wherever it stands.
    let codec: ColumnCodec

    /// Declares a column.
    ///
    /// - Parameters:
    ///   - name: The column's name.
    ///   - path: The property that holds its value, such as `\.orderID`.
    @inlinable
    public init<Value: ColumnValue>(
        _ name: String,
        _ path: any KeyPath<Row, Value> & Sendable
    ) {
        let codec = ColumnCodec(Value.self)
        // A stored property is read at its offset; going through the key path costs several times
        // as much for each field.
        if let offset = MemoryLayout<Row>.offset(of: path) {
            self.init(name, value: Value.self, codec, at: offset) { row, buffer, type in
                try (row + offset).assumingMemoryBound(to: Value.self).pointee.encode(
                    into: &buffer,
                    as: type
                )
            }
        } else {
            self.init(name, value: Value.self, codec, at: nil) { row, buffer, type in
                try row.assumingMemoryBound(to: Row.self).pointee[keyPath: path].encode(
                    into: &buffer,
                    as: type
                )
            }
        }
    }

    /// Declares a column of any type, whose values are given as the server reads them in SQL.
    ///
    /// ```swift
    /// Column("address", \.address, as: "inet")
    /// Column("place", \.place, as: "geometry")
    /// ```
    ///
    /// The rows of such a table are sent to a temporary table first, and each value is converted there:
    /// the load takes about twice as long, and the table's size on disk once more for that time. A value
    /// can come back in another spelling, so `follow` and `rebuild --resume` fold the ledger from its
    /// beginning. It can be no key column: two texts may be one value.
    ///
    /// - Parameters:
    ///   - name: The column's name.
    ///   - path: The property that holds its value as text.
    ///   - type: The column's type, without schema and length, such as `inet` or `vector`.
    public init(_ name: String, _ path: any KeyPath<Row, String> & Sendable, as type: String) {
        self.init(passing: name, path, as: type)
    }

    /// Declares a column of any type that can be NULL, whose values are given as the server reads them in
    /// SQL; see the other one.
    ///
    /// - Parameters:
    ///   - name: The column's name.
    ///   - path: The property that holds its value as text, or nil.
    ///   - type: The column's type, without schema and length, such as `inet` or `vector`.
    public init(_ name: String, _ path: any KeyPath<Row, String?> & Sendable, as type: String) {
        self.init(passing: name, path, as: type)
    }

    private init<Value: ColumnValue>(
        passing name: String,
        _ path: any KeyPath<Row, Value> & Sendable,
        as type: String
    ) {
        let column = Column(name, path)
        self.name = name
        value = ColumnValueDescription(
            swiftType: column.value.swiftType,
            types: [.passed],
            isNullable: Value.isNullable,
            labels: nil,
            passedAs: type
        )
        encode = column.encode
        offset = column.offset
        codec = column.codec
    }

    @usableFromInline
    init<Value: ColumnValue>(
        _ name: String,
        value: Value.Type,
        _ codec: ColumnCodec,
        at offset: Int?,
        encode: @escaping FieldEncoder
    ) {
        self.name = name
        self.value = ColumnValueDescription(
            swiftType: String(describing: Value.self),
            types: Value.columnTypes,
            isNullable: Value.isNullable,
            labels: Value.labels,
            passedAs: nil
        )
        self.encode = encode
        self.offset = offset
        self.codec = codec
    }
}

/// The Swift side of a column.
package struct ColumnValueDescription: Equatable, Sendable {
    /// The Swift type as people write it, such as `Optional<Int64>`.
    package let swiftType: String
    /// The PostgreSQL types it fits.
    package let types: [ColumnType]
    /// Whether a value can be NULL.
    package let isNullable: Bool
    /// The labels that an enum type needs to have.
    package let labels: [String]?
    /// The type whose values travel as text; nil for one that is known.
    package let passedAs: String?
}
