import Postgres

/// The materialized views of a generation that is not live, filled from its tables.
struct MaterializedTwins: Sendable {
    let target: GenerationRecord
    let liveSchema: String

    /// Makes those that are missing or made by another definition, in the caller's transaction.
    ///
    /// They are made all together or kept all together, because one can read another.
    ///
    /// - Returns: What is to take the places of the live tables and materialized views.
    func ensure(
        for live: LiveTables,
        on connection: PostgresConnection
    ) async throws -> CarryRehearsal {
        let tables = Dictionary(uniqueKeysWithValues: target.tables.map { ($0.name, $0.oid) })
        let bare = CarryRehearsal(live: live, homeSchema: target.homeSchema, tables: tables)
        let wanted = try await MaterializedView.over(live.oids, on: connection)
        let found = try await MaterializedView.over(target.tables.map(\.oid), on: connection)
            .filter { $0.name.schema == target.homeSchema }
        var rehearsal = bare
        for view in wanted {
            guard let twin = found.first(where: { $0.name.name == view.name.name }) else {
                continue
            }
            rehearsal.add(.init(live: view.oid, name: view.name, home: twin.oid))
        }
        let scripts = try await scripts(of: wanted, for: rehearsal, on: connection)
        if try await scripts == self.scripts(of: found, for: bare, on: connection) {
            return rehearsal
        }
        for view in found.reversed() {
            try await connection.execute("DROP MATERIALIZED VIEW \(view.name.sql) RESTRICT")
        }
        rehearsal = bare
        if !wanted.isEmpty {
            try await guardRows(of: live, for: rehearsal, on: connection)
            for view in wanted { try await make(view, &rehearsal, on: connection) }
            try await unguardRows(for: rehearsal, on: connection)
        }
        try await record(wanted, on: connection)
        return rehearsal
    }

    /// Gives the new tables owners and row-level security of the live ones, for as long as views are
    /// filled from them: each holds what its owner may see, as after REFRESH.
    private func guardRows(
        of live: LiveTables,
        for rehearsal: CarryRehearsal,
        on connection: PostgresConnection
    ) async throws {
        for table in live.tables {
            guard rehearsal.pairs.contains(where: { $0.live == table.oid }) else { continue }
            let home = QualifiedName(schema: target.homeSchema, name: table.name.name)
            try await connection.give("TABLE", home, to: table.owner)
        }
        let kept = rehearsal.pairs
        try await TableAttachments.remove(from: kept.map(\.home), on: connection)
        for object in try await TableAttachments.captureSecurity(
            on: kept.map(\.live),
            on: connection
        ) {
            let outcome = try await rehearsal.outcome(of: object, on: connection).outcome
            guard case .same(let path) = outcome else {
                throw ReadModelError.refusedByPlan(
                    projection: target.projection,
                    reasons: [outcome.finding(of: object).text]
                )
            }
            try await connection.setSearchPath(list: path ?? "")
            for statement in object.restore {
                try await connection.execute(rehearsal.text(statement))
            }
        }
        try await connection.setSearchPath([])
    }

    /// What the cut-over puts onto the tables itself is taken off again, and so are rights.
    private func unguardRows(
        for rehearsal: CarryRehearsal,
        on connection: PostgresConnection
    ) async throws {
        let tables = Set(target.tables.map(\.oid))
        let homes = rehearsal.pairs.filter { tables.contains($0.home) }
        try await TableAttachments.remove(from: homes.map(\.home), on: connection)
        for pair in rehearsal.pairs {
            let home = QualifiedName(schema: target.homeSchema, name: pair.name.name)
            for statement in try await TableRights.revocation(
                of: pair.home,
                named: home,
                on: connection
            ) {
                try await connection.execute(statement)
            }
        }
    }

    private func make(
        _ view: MaterializedView,
        _ rehearsal: inout CarryRehearsal,
        on connection: PostgresConnection
    ) async throws {
        let twin = try await view.twin(for: rehearsal, on: connection)
        let outcome = try await rehearsal.outcome(of: view, by: twin.creation, on: connection)
            .outcome
        guard case .same(let path) = outcome else {
            let object = CarriedObject(subject: "materialized view \(view.name.sql)", note: "")
            throw ReadModelError.refusedByPlan(
                projection: target.projection,
                reasons: [outcome.finding(of: object).text]
            )
        }
        let readable = rehearsal.pairs
        try await view.make(twin, under: path, in: &rehearsal, on: connection)
        // Before anything of the view is evaluated: its owner's functions run with its owner's rights.
        try await connection.give("MATERIALIZED VIEW", twin.name, to: view.owner)
        if view.isPopulated {
            try await letRead(view.owner, readable, on: connection)
            try await refresh(view, twin, on: connection)
        }
        let home = rehearsal.pairs.first { $0.live == view.oid }
        if let home { try await makeIndexes(of: twin, home, on: connection) }
    }

    /// Makes indexes and statistics with the meaning that they have on the live view.
    ///
    /// In other schemas than the server's own somebody may have put operators and functions that fit
    /// better than those that are meant, and the owner of the view would call them at once. So these
    /// schemas are looked through only where the text means something else without them.
    private func makeIndexes(
        of twin: MaterializedView.Twin,
        _ pair: CarryRehearsal.Pair,
        on connection: PostgresConnection
    ) async throws {
        var alone = CarryRehearsal(
            live: LiveTables(generation: nil, tables: [], isAdopted: false),
            homeSchema: target.homeSchema,
            tables: [:]
        )
        alone.add(pair)
        try await connection.execute("SAVEPOINT indexes")
        do {
            try await connection.setSearchPath([])
            for statement in twin.indexes { try await connection.execute(statement) }
            let others = try await FeatureMeanings(rehearsal: alone, isClone: true)
                .refusals(on: connection)
            if others.isEmpty { return try await connection.setSearchPath([]) }
        } catch let error as ServerError where !error.isLockFailure {
            // A function or an operator that is found in another schema only.
        }
        try await connection.execute("ROLLBACK TO SAVEPOINT indexes")
        let path = try await SearchPaths.ofTables(
            in: target.homeSchema,
            liveSchema,
            like: [pair.live],
            on: connection
        )
        try await connection.setSearchPath(list: path)
        for statement in twin.indexes { try await connection.execute(statement) }
        try await connection.setSearchPath([])
    }

    /// REFRESH runs the query with the rights of the view's owner, as a security-restricted operation
    /// (manual, REFRESH MATERIALIZED VIEW).
    private func refresh(
        _ view: MaterializedView,
        _ twin: MaterializedView.Twin,
        on connection: PostgresConnection
    ) async throws {
        do {
            try await connection.execute("REFRESH MATERIALIZED VIEW \(twin.name.sql)")
        } catch let error as ServerError where error.sqlState == "42501" {
            throw ReadModelError.refusedByPlan(
                projection: target.projection,
                reasons: [
                    "materialized view \(view.name.sql): its owner \(view.owner) may not fill it: "
                        + "\(error.message). REFRESH MATERIALIZED VIEW fails in the same way; give the "
                        + "owner the right, or drop the view"
                ]
            )
        }
    }

    /// Gives a role the rights to read that it has on the live relations, however it has them.
    private func letRead(
        _ role: String,
        _ pairs: [CarryRehearsal.Pair],
        on connection: PostgresConnection
    ) async throws {
        let rows = try await connection.query(
            """
            WITH pair (live, home) AS (
                SELECT * FROM ROWS FROM (pg_catalog.unnest($2::pg_catalog.oid[]),
                    pg_catalog.unnest($3::pg_catalog.oid[])) AS p
            )
            SELECT pg_catalog.format('GRANT SELECT ON %s TO %I',
                p.home::pg_catalog.regclass, $1::pg_catalog.text) AS statement
            FROM pair AS p WHERE pg_catalog.has_table_privilege($1::pg_catalog.name, p.live, 'SELECT')
                AND NOT pg_catalog.has_table_privilege($1::pg_catalog.name, p.home, 'SELECT')
            UNION ALL
            SELECT pg_catalog.format('GRANT SELECT (%I) ON %s TO %I', b.attname,
                p.home::pg_catalog.regclass, $1)
            FROM pair AS p
            JOIN pg_catalog.pg_attribute AS a ON a.attrelid = p.live AND a.attnum > 0
                AND NOT a.attisdropped
            JOIN pg_catalog.pg_attribute AS b ON b.attrelid = p.home AND b.attname = a.attname
            WHERE NOT pg_catalog.has_table_privilege($1::pg_catalog.name, p.live, 'SELECT')
                AND pg_catalog.has_column_privilege($1::pg_catalog.name, p.live, a.attnum, 'SELECT')
            """,
            [
                .text(role), .ints(pairs.map { Int64($0.live) }),
                .ints(pairs.map { Int64($0.home) }),
            ]
        ).rows
        for row in rows { try await connection.execute(try row.string("statement")) }
    }

    private func scripts(
        of views: [MaterializedView],
        for rehearsal: CarryRehearsal,
        on connection: PostgresConnection
    ) async throws -> [MaterializedView.Twin] {
        var scripts: [MaterializedView.Twin] = []
        for view in views {
            scripts.append(try await view.twin(for: rehearsal, on: connection))
        }
        return scripts
    }

    private func record(
        _ views: [MaterializedView],
        on connection: PostgresConnection
    ) async throws {
        try await connection.query(
            """
            DELETE FROM reprise.generation_table
            WHERE projection = $1 AND generation = $2 AND kind = 'materialized view'
            """,
            [.text(target.projection), .int(Int64(target.number))]
        )
        for view in views {
            let home = QualifiedName(schema: target.homeSchema, name: view.name.name)
            try await connection.query(
                """
                INSERT INTO reprise.generation_table
                    (projection, generation, table_name, table_oid, kind)
                VALUES ($1, $2, $3, $4::pg_catalog.regclass, 'materialized view')
                """,
                [
                    .text(target.projection), .int(Int64(target.number)), .text(view.name.name),
                    .text(home.sql),
                ]
            )
        }
    }
}
