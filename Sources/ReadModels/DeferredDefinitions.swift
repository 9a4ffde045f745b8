import Postgres

/// Indexes and constraints of tables, as statements to run after the rows are loaded.
///
/// They are to be run with the tables' own schema first on the search path, and then the live one.
struct DeferredDefinitions: Sendable {
    /// What is made on one table; statements of different tables may run side by side.
    struct OfTable: Sendable {
        let table: String
        /// Indexes, also those of constraints: each a list of statements of its own.
        ///
        /// CREATE INDEX locks its table against writes and not against another CREATE INDEX, so that
        /// they may run side by side.
        let indexes: [[String]]
        /// What is made of the indexes or beside them, in this order: constraints, then marks and
        /// comments.
        let rest: [String]

        /// Whether an index may be over an expression, of which ANALYZE gathers statistics only once
        /// the index is there.
        ///
        /// What its definition says behind the list of columns counts as well: a false alarm costs
        /// little.
        var mayHaveExpressions: Bool {
            indexes.contains { $0.contains { $0.count { $0 == "(" } > 1 } }
                || rest.contains { $0.contains(" EXCLUDE ") }
        }
    }

    let tables: [OfTable]
    /// Foreign keys: added NOT VALID, then validated, when every table has its indexes.
    let foreignKeys: [String]
    /// Statements that take the same indexes and constraints off empty tables.
    let removal: [String]

    /// Takes apart what tables are to have, and what of it is on them now.
    ///
    /// - Parameters:
    ///   - shapes: What each table is to have.
    ///   - present: What each table has, foreign keys included.
    init(_ shapes: [(table: String, shape: TableShape)], present: [TableShape]) {
        tables = shapes.map { OfTable($0.table, $0.shape) }
        foreignKeys = shapes.flatMap { $0.shape.inOrder.filter { $0.phase == .keys } }
            .flatMap(\.making)
        // Foreign keys come off first: they need the unique index of the table they refer to.
        let features = present.flatMap { $0.values }
        removal =
            features.filter { $0.phase == .keys }.compactMap(\.removal)
            + features.filter { $0.phase == .rows }.compactMap(\.removal)
    }
}

extension DeferredDefinitions.OfTable {
    fileprivate init(_ table: String, _ shape: TableShape) {
        var indexes: [[String]] = []
        var rest: [String] = []
        for feature in shape.inOrder where feature.phase == .rows && !feature.isTablespaceOfIndex {
            guard feature.hasIndex else {
                rest += feature.making
                continue
            }
            let name = SQLText.literal(shape[feature.tablespaceKey]?.value ?? "")
            let tablespace = "SET LOCAL default_tablespace = \(name)"
            if let build = feature.indexBuild {
                indexes.append([tablespace, build])
                rest += feature.making.dropFirst()
            } else {
                rest += [tablespace] + feature.making
            }
        }
        self.init(table: table, indexes: indexes, rest: rest)
    }

    /// All of it, one after the other.
    var statements: [String] { indexes.flatMap { $0 } + rest }
}

extension PostgresConnection {
    /// Sets the search path for the rest of the transaction.
    ///
    /// `pg_temp` comes last: left out, it would be searched first (manual, `search_path`).
    func setSearchPath(_ schemas: [String]) async throws {
        try await setSearchPath(schemas, isLocal: true)
    }

    /// Sets it for the rest of the session, for statements that each are their own transaction.
    func setSessionSearchPath(_ schemas: [String]) async throws {
        try await setSearchPath(schemas, isLocal: false)
    }

    private func setSearchPath(_ schemas: [String], isLocal: Bool) async throws {
        let path = (schemas + ["pg_temp"]).map(SQLText.identifier).joined(separator: ", ")
        try await query(
            "SELECT pg_catalog.set_config('search_path', $1, $2)",
            [.text(path), .bool(isLocal)]
        )
    }
}
