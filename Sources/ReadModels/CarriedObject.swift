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
    /// What remains to be done after COMMIT, while readers go on.
    var followUp: FollowUp?

    /// How names are written in the text of a captured object.
    enum Wording: Sendable {
        /// Every name with its schema: for the cut-over.
        case qualified
        /// What is in the live schema without it, so that the text means the table of the same name
        /// in whatever schema comes first on the search path: for a rehearsal.
        case relative(liveSchema: String)

        fileprivate var searchPath: [String] {
            switch self {
            case .qualified: []
            case .relative(let liveSchema): [liveSchema]
            }
        }

        fileprivate var isPretty: Bool {
            if case .relative = self { true } else { false }
        }
    }

    /// Asks the catalogue for objects of one kind.
    ///
    /// - Parameters:
    ///   - query: Its parameters are the tables' OIDs and whether the pretty form is wanted, which
    ///     alone leaves schemas out. Its columns are subject, note, locked, release and the
    ///     statements restore_1 to restore_3, null where there is none; and host, where it can have one.
    ///   - tables: OIDs.
    ///   - wording: How names are written.
    ///   - connection: Inside a transaction; its search path is changed.
    /// - Returns: The objects, in the query's order.
    /// - Throws: The server's error.
    static func ask(
        _ query: String,
        of tables: [UInt32],
        wording: Wording,
        on connection: PostgresConnection
    ) async throws -> [CarriedObject] {
        guard !tables.isEmpty else { return [] }
        try await connection.setSearchPath(wording.searchPath)
        let result = try await connection.query(
            query,
            [.ints(tables.map { Int64($0) }), .bool(wording.isPretty)]
        )
        return try result.rows.map { row in
            CarriedObject(
                subject: try row.string("subject"),
                note: try row.string("note"),
                locked: row["locked"],
                host: result.columns.contains("host") ? row["host"] : nil,
                release: [row["release"]].compactMap { $0 },
                restore: ["restore_1", "restore_2", "restore_3"].compactMap { row[$0] }
            )
        }
    }
}
