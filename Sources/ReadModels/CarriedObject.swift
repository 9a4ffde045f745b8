import Postgres

/// Something that hangs on a live table by its OID and has to follow when another table takes its
/// place.
struct CarriedObject: Equatable, Sendable {
    /// The object, as people look for it: `trigger audit on public.orders`.
    let subject: String
    /// What a swap does with it.
    let note: String
    /// A relation of others that its statements lock, qualified and quoted: it is locked before the
    /// live tables, because that is the order in which a reader locks them.
    var locked: String?
    /// The relation of others that it stands on, table or view, qualified and quoted.
    var host: String?
    /// Takes it off the tables that leave, before they move.
    var release: [String] = []
    /// Puts it onto the tables that came, after they moved, by the live tables' names.
    var restore: [String] = []
    /// Expressions of it that have to mean the same afterwards, on the live relations.
    var trees: [StoredTree] = []
    /// The search path under which `restore` is run, as `search_path` has it; nil for an empty one.
    var path: String?
    /// What remains to be done after COMMIT, while readers go on.
    var followUp: FollowUp?

    /// Asks the catalogue for objects of one kind.
    ///
    /// - Parameters:
    ///   - query: Its parameter are the tables' OIDs. Its columns are subject, note, locked, release and
    ///     the statements restore_1 and following, null where there is none; host, where it can have one;
    ///     and tree_host and tree_name, where it has expressions.
    ///   - kind: Of its expressions; nil where it has none.
    ///   - tables: OIDs.
    ///   - connection: Inside a transaction; its search path is changed.
    /// - Returns: The objects, in the query's order.
    /// - Throws: The server's error.
    static func ask(
        _ query: String,
        for kind: StoredTree.Kind? = nil,
        of tables: [UInt32],
        on connection: PostgresConnection
    ) async throws -> [CarriedObject] {
        guard !tables.isEmpty else { return [] }
        try await connection.setSearchPath([])
        let result = try await connection.query(query, [.ints(tables.map { Int64($0) })])
        return try result.rows.map { row in
            var object = CarriedObject(
                subject: try row.string("subject"),
                note: try row.string("note"),
                locked: row["locked"],
                host: result.columns.contains("host") ? row["host"] : nil,
                release: [row["release"]].compactMap { $0 },
                restore: result.columns.filter { $0.hasPrefix("restore_") }.compactMap { row[$0] }
            )
            if let kind {
                object.trees = [
                    StoredTree(
                        kind: kind,
                        host: UInt32(try row.int("tree_host")),
                        name: try row.string("tree_name")
                    )
                ]
            }
            return object
        }
    }

    /// The statements of `restore`, under their search path.
    var restoration: [String] {
        guard let path else { return restore }
        func setting(_ path: String) -> String {
            "SELECT pg_catalog.set_config('search_path', \(SQLText.literal(path)), true)"
        }
        return [setting("\(path), pg_temp")] + restore + [setting("pg_temp")]
    }
}
