import Postgres

/// Something on a table that can be put there and taken off again: an index, a constraint, extended
/// statistics, a comment, a setting.
///
/// A column is one as well, so that others can be part of it; it comes with its table only.
struct TableFeature: Equatable, Sendable {
    /// When it is made.
    enum Phase: String, Sendable {
        /// With the table, before the rows.
        case table
        /// After the rows: loading into an indexed table takes 3 to 5 times as long.
        case rows
        /// When every table has its rows and indexes: a foreign key.
        case keys
    }

    /// What it is and what it is called, such as `index orders_day`: one of a kind on its table.
    let key: String
    /// Its definition, the same text in every generation that has it.
    let value: String
    /// Its definition without its name, for what may be there under another name.
    var twin: String?
    /// The key of the feature without which it cannot be.
    var partOf: String?
    var phase = Phase.table
    /// Lower ones are made first.
    var rank = 0
    /// Statements that make it; none when it comes with its column only.
    var making: [String] = []
    /// The statement that turns another value into this one, where that is not ``making``.
    var change: String?
    /// The statement that takes it off; nil where ``making`` overwrites.
    var removal: String?

    /// The first word of its key.
    var kind: Substring { key.prefix { $0 != " " } }

    var isPrimaryKey: Bool { kind == "constraint" && value.hasPrefix("PRIMARY KEY ") }

    /// Whether it is, or has, an index: that is built in its tablespace, since moving it later would
    /// write it again.
    var hasIndex: Bool { phase == .rows && twin != nil && !value.hasPrefix("CHECK ") }

    /// The statement that builds its index; nil where that is not a statement of its own, as it is not
    /// of an exclusion constraint.
    var indexBuild: String? {
        making.first.flatMap { hasIndex && $0.hasPrefix("CREATE ") ? $0 : nil }
    }

    /// The statement that looks whether every row has a parent; nil for what is no foreign key, or one that
    /// is not to hold for every row.
    var validation: String? { phase == .keys && making.count > 1 ? making.last : nil }

    /// The key of the setting that names the tablespace of its index.
    var tablespaceKey: String {
        TableFeature.tablespaceOfIndex + key.dropFirst(kind.count + 1)
    }

    /// Whether it says where an index is, which is said when the index is built.
    var isTablespaceOfIndex: Bool { key.hasPrefix(TableFeature.tablespaceOfIndex) }

    private static let tablespaceOfIndex = "tablespace of index "

    /// The statements that make it on a table that may have it with another value.
    func statements(replacing other: TableFeature?) -> [String] {
        guard let other else { return making }
        if let change { return [change] }
        return (other.removal.map { [$0] } ?? []) + making
    }
}

extension TableFeature {
    fileprivate init(_ row: QueryRow) throws {
        key = try row.string("key")
        value = try row.string("value")
        twin = row["twin"]
        partOf = row["part_of"]
        phase = Phase(rawValue: try row.string("phase")) ?? .table
        rank = Int(try row.int("rank"))
        making = ["make", "finish"].compactMap { row[$0] }
        change = row["change"]
        removal = row["removal"]
    }
}

/// The features of a table, by key.
typealias TableShape = [String: TableFeature]

extension TableShape {
    /// The features, the first to be made first.
    var inOrder: [TableFeature] {
        values.sorted { ($0.rank, $0.key) < ($1.rank, $1.key) }
    }

    /// Reads what tables have.
    ///
    /// - Parameters:
    ///   - oids: The tables.
    ///   - home: The schema on whose tables the statements are to be run.
    ///   - searchPath: The tables' own schema first, then others that their definitions may name.
    ///   - connection: Where to ask, inside a transaction.
    /// - Returns: Each table's features, by the table's name.
    /// - Throws: ``ServerError``.
    static func capture(
        of oids: [UInt32],
        for home: String,
        searchPath: [String],
        on connection: PostgresConnection
    ) async throws -> [String: TableShape] {
        try await connection.setSearchPath(searchPath)
        let result = try await connection.query(
            ShapeQuery.features,
            [.ints(oids.map { Int64($0) }), .text(home)]
        )
        var shapes: [String: TableShape] = [:]
        for row in result.rows {
            let feature = try TableFeature(row)
            shapes[try row.string("table_name"), default: [:]][feature.key] = feature
        }
        return shapes
    }
}
