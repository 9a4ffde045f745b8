import Postgres

/// What event triggers put onto new tables, and the live tables have not: a swap would change these.
struct EventTriggerChanges: Sendable {
    let homeSchema: String
    /// The names of those that are switched on.
    let triggers: [String]
    let tables: [Table]

    /// A new table that has a live twin.
    struct Table: Sendable {
        let oid: UInt32
        let live: UInt32
        /// What the new one is to have.
        let merge: ShapeMerge
        let liveShape: TableShape
        /// What may be of event triggers.
        let marks: [TableFeature]
        let columns: [EventTriggers.Column]
    }

    /// Finds them.
    ///
    /// - Parameters:
    ///   - searchPath: Under which features are read.
    ///   - connection: Inside a transaction; its search path is changed.
    /// - Returns: A sentence for each table that would change.
    /// - Throws: ``ServerError`` when a lock was not to be had.
    func reasons(searchPath: [String], on connection: PostgresConnection) async throws -> [String] {
        guard !triggers.isEmpty else { return [] }
        let ofIndexes = try await indexChanges(searchPath: searchPath, on: connection)
        var reasons: [String] = []
        for table in tables {
            var found = table.columns.map(\.key).filter { key in
                table.merge.shape[key] != nil && table.liveShape[key] == nil
            }
            found += table.marks.filter { feature in
                table.merge.shape[feature.key]?.value == feature.value
                    && table.liveShape[feature.key]?.value != feature.value
            }.filter { feature in !found.contains(feature.partOf ?? "") }.map(\.key)
            if try await isUnlogged(table, on: connection) { found.append("UNLOGGED") }
            found += (ofIndexes[table.oid] ?? []).filter { !found.contains($0) }
            guard !found.isEmpty else { continue }
            reasons.append(
                "An event trigger (\(triggers.joined(separator: ", "))) puts "
                    + "\(found.joined(separator: ", ")) onto new tables, which \(table.merge.table) "
                    + "has not. Let it pass over schemas like \(homeSchema), or type ALTER EVENT "
                    + "TRIGGER … DISABLE for the time of a rebuild."
            )
        }
        return reasons
    }

    /// Makes the indexes of the live tables on the new ones, where none has a row, and looks whether they
    /// come out as they are.
    private func indexChanges(
        searchPath: [String],
        on connection: PostgresConnection
    ) async throws -> [UInt32: [String]] {
        try await connection.execute("SAVEPOINT reprise_indexes")
        for table in tables {
            for index in table.liveShape.inOrder where index.indexBuild != nil {
                guard let own = table.merge.shape[index.key] else { continue }
                try await make(index, inPlaceOf: own, on: connection)
            }
        }
        let shapes = try await TableShape.capture(
            of: tables.map(\.oid),
            for: homeSchema,
            searchPath: searchPath,
            on: connection
        )
        var found: [UInt32: [String]] = [:]
        for table in tables {
            let name = try await Catalogue.tables(oids: [table.oid], on: connection).first?.name
                .name
            let shape = name.flatMap { shapes[$0] } ?? [:]
            let indexes = table.liveShape.values.filter { $0.indexBuild != nil }.map(\.key)
            let parts = shape.inOrder.filter { feature in
                feature.phase == .rows && !feature.isTablespaceOfIndex
                    && indexes.contains(feature.partOf ?? "")
                    && feature.value != table.liveShape[feature.key]?.value
            }
            found[table.oid] =
                try await Self.optionsOfIndexes(
                    of: table.oid,
                    otherThan: table.live,
                    on: connection
                ) + parts.map(\.key)
        }
        try await connection.execute(
            "ROLLBACK TO SAVEPOINT reprise_indexes; RELEASE SAVEPOINT reprise_indexes"
        )
        return found
    }

    /// Makes one, unless it does not fit the new table.
    private func make(
        _ index: TableFeature,
        inPlaceOf own: TableFeature,
        on connection: PostgresConnection
    ) async throws {
        try await connection.execute("SAVEPOINT reprise_index")
        do {
            if let removal = own.removal { try await connection.execute(removal + " CASCADE") }
            for statement in index.making { try await connection.execute(statement) }
        } catch let error as ServerError where !error.isLockFailure {
            try await connection.execute("ROLLBACK TO SAVEPOINT reprise_index")
        }
        try await connection.execute("RELEASE SAVEPOINT reprise_index")
    }

    /// Indexes of a table with options that the index of the same name on another table has not.
    static func optionsOfIndexes(
        of table: UInt32,
        otherThan other: UInt32,
        on connection: PostgresConnection
    ) async throws -> [String] {
        try await connection.query(
            """
            SELECT 'options of index ' || pg_catalog.quote_ident(n.relname) AS options
            FROM pg_catalog.pg_index AS i
            JOIN pg_catalog.pg_class AS n ON n.oid = i.indexrelid
            JOIN pg_catalog.pg_index AS j ON j.indrelid = $2::pg_catalog.oid
            JOIN pg_catalog.pg_class AS o ON o.oid = j.indexrelid AND o.relname = n.relname
            WHERE i.indrelid = $1::pg_catalog.oid
                AND n.reloptions IS DISTINCT FROM o.reloptions AND n.reloptions IS NOT NULL
            ORDER BY 1
            """,
            [.int(Int64(table)), .int(Int64(other))]
        ).rows.map { try $0.string("options") }
    }

    private func isUnlogged(_ table: Table, on connection: PostgresConnection) async throws -> Bool
    {
        let row = try await connection.query(
            """
            SELECT FROM pg_catalog.pg_class AS n, pg_catalog.pg_class AS o
            WHERE n.oid = $1::pg_catalog.oid AND o.oid = $2::pg_catalog.oid
                AND n.relpersistence = 'u' AND o.relpersistence = 'p'
            """,
            [.int(Int64(table.oid)), .int(Int64(table.live))]
        ).first
        return row != nil
    }
}
