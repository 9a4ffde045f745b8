import Postgres
import Wording

/// Tables of a generation that nothing in the live schema precedes: they end like tables that are made
/// there.
///
/// Default privileges of the live schema and event triggers give something to a table when it is made.
/// The tables of a generation are made elsewhere, so what they would get is found by making their
/// like in the live schema, in a part of the transaction that is undone.
struct NewTables: Sendable {
    /// What they get.
    struct Given: Sendable {
        /// Given when they are live, in this order.
        var objects: [CarriedObject] = []
        /// Given before, at home.
        var preparation: [String] = []
        /// What expressions of the objects have to mean.
        var meanings: [(tree: StoredTree, digest: String, subject: String)] = []
    }

    private struct Like: Sendable {
        let table: TableDescription
        let oid: UInt32
        let name: QualifiedName
    }

    let projection: String
    let homeSchema: String
    let liveSchema: String
    /// OIDs of tables of the generation, at home.
    let tables: [UInt32]

    /// Finds out.
    ///
    /// - Parameter connection: Inside a transaction; its search path is changed.
    /// - Returns: Nothing where there are neither event triggers nor default privileges.
    /// - Throws: ``ReadModelError/refusedByPlan(projection:reasons:)`` when the tables cannot get it,
    ///   or the server refuses their like; what the server says.
    func given(on connection: PostgresConnection) async throws -> Given {
        guard !tables.isEmpty, try await isAnythingGiven(on: connection) else { return Given() }
        try await connection.setSearchPath([])
        let tables = try await Catalogue.tables(oids: tables, on: connection)
        try await connection.execute("SAVEPOINT reprise_like")
        let result: Result<Given, ServerError>
        do {
            result = .success(try await given(tables, on: connection))
        } catch let error as ServerError where !error.isLockFailure {
            result = .failure(error)
        }
        try await connection.execute("ROLLBACK TO SAVEPOINT reprise_like")
        switch result {
        case .success(let given): return given
        case .failure(let error):
            let triggers = try await EventTriggers.names(on: connection)
            let cause =
                triggers.isEmpty
                ? "" : " Event triggers run when one is made: \(triggers.joined(separator: ", "))."
            throw refusal(
                "A table like those of the generation cannot be made in the schema "
                    + "'\(liveSchema)': \(TextForPeople.oneLine(error)).\(cause)"
            )
        }
    }

    private func given(
        _ tables: [TableDescription],
        on connection: PostgresConnection
    ) async throws -> Given {
        let likes = try await makeLikes(of: tables, on: connection)
        try await assertSameColumns(likes, on: connection)
        var given = Given()
        for like in likes {
            try await addRights(from: like, to: &given, on: connection)
        }
        try await addSequenceRights(to: &given, on: connection)
        let oids = likes.map(\.oid)
        var objects = try await TableAttachments.capture(on: oids, on: connection)
        objects += try await CarriedObject.ask(Self.settingsQuery, of: oids, on: connection)
        objects += try await Publications.capture(of: oids, on: connection).map { object in
            var object = object
            // Its like is listed, and is gone by then.
            object.release = []
            return object
        }
        given.meanings = try await meanings(of: objects, likes, on: connection)
        given.objects += objects.map { object in
            var object = object
            object.trees = []
            return object
        }
        return given
    }

    private func makeLikes(
        of tables: [TableDescription],
        on connection: PostgresConnection
    ) async throws -> [Like] {
        var likes: [Like] = []
        for table in tables {
            let name = QualifiedName(schema: liveSchema, name: table.name.name)
            try await EventTriggers.makeLike(of: table.name, as: name, on: connection)
            guard let made = try await Catalogue.table(name, on: connection) else {
                throw refusal("An event trigger removes or renames \(name.sql) when it is made.")
            }
            likes.append(Like(table: table, oid: made.oid, name: name))
        }
        return likes
    }

    /// What an event trigger adds has to be in `schema.sql`, where the row type finds it.
    private func assertSameColumns(
        _ likes: [Like],
        on connection: PostgresConnection
    ) async throws {
        for like in likes {
            let found = try await connection.query(
                """
                SELECT a.attname FROM pg_catalog.pg_attribute AS a
                WHERE a.attrelid = $1::pg_catalog.oid AND a.attnum > 0 AND NOT a.attisdropped
                    AND a.attname NOT IN (SELECT o.attname FROM pg_catalog.pg_attribute AS o
                        WHERE o.attrelid = $2::pg_catalog.oid AND NOT o.attisdropped)
                ORDER BY a.attnum LIMIT 1
                """,
                [.int(Int64(like.oid)), .int(Int64(like.table.oid))]
            ).first
            guard let column = try found?.string("attname") else { continue }
            throw refusal(
                "An event trigger adds the column \(column) to \(like.name.sql) when it is made, "
                    + "which the table of the generation has not. Put it into schema.sql."
            )
        }
    }

    private func addRights(
        from like: Like,
        to given: inout Given,
        on connection: PostgresConnection
    ) async throws {
        let owner = try await Catalogue.table(like.name, on: connection)?.owner
        let home = like.table.name
        if let owner, owner != like.table.owner {
            let role = SQLText.identifier(owner)
            let schema = SQLText.identifier(homeSchema)
            given.preparation += [
                "GRANT CREATE ON SCHEMA \(schema) TO \(role)",
                "ALTER TABLE \(home.sql) OWNER TO \(role)",
                "REVOKE CREATE ON SCHEMA \(schema) FROM \(role)",
            ]
        }
        given.preparation += try await TableRights.revocation(
            of: like.table.oid,
            named: home,
            on: connection
        )
        try await add(from: like.oid, to: like.table.oid, home, like.name, &given, on: connection)
    }

    private func addSequenceRights(
        to given: inout Given,
        on connection: PostgresConnection
    ) async throws {
        let sequences = try await connection.query(
            """
            SELECT s.oid, n.nspname, s.relname FROM pg_catalog.pg_depend AS d
            JOIN pg_catalog.pg_class AS s ON s.oid = d.objid AND s.relkind = 'S'
            JOIN pg_catalog.pg_namespace AS n ON n.oid = s.relnamespace AND n.nspname = $2
            WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype IN ('a', 'i')
                AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
                AND d.refobjid = ANY ($1::pg_catalog.oid[])
            ORDER BY s.relname
            """,
            [.ints(tables.map { Int64($0) }), .text(homeSchema)]
        )
        for row in sequences.rows {
            let name = try row.string("relname")
            let live = QualifiedName(schema: liveSchema, name: name)
            // That of an identity column has been made with the table's like.
            try await connection.execute("CREATE SEQUENCE IF NOT EXISTS \(live.sql)")
            let like = try await connection.query(
                "SELECT pg_catalog.to_regclass($1)::pg_catalog.oid AS oid",
                [.text(live.sql)]
            ).first
            guard let oid = try like?.optionalInt("oid") else { continue }
            try await add(
                from: UInt32(oid),
                to: UInt32(try row.int("oid")),
                QualifiedName(schema: try row.string("nspname"), name: name),
                live,
                &given,
                on: connection
            )
        }
    }

    private func add(
        from like: UInt32,
        to target: UInt32,
        _ home: QualifiedName,
        _ live: QualifiedName,
        _ given: inout Given,
        on connection: PostgresConnection
    ) async throws {
        let rights = try await TableRights.copy(
            from: like,
            to: target,
            at: home,
            thereafter: live,
            on: connection
        )
        given.preparation += rights.byOwner
        guard !rights.byOwner.isEmpty || !rights.byOthers.isEmpty else { return }
        given.objects.append(
            CarriedObject(
                subject: "grants on \(live.sql)",
                note: "given as to a table that is made there",
                restore: rights.byOthers
            )
        )
    }

    private func meanings(
        of objects: [CarriedObject],
        _ likes: [Like],
        on connection: PostgresConnection
    ) async throws -> [(tree: StoredTree, digest: String, subject: String)] {
        let all = objects.flatMap { object in
            object.trees.map { (tree: $0, subject: object.subject) }
        }
        let found = try await StoredTree.meanings(of: all.map(\.tree), on: connection)
        let successors = try await Successors(
            likes.map { ($0.oid, $0.table.oid) },
            on: connection
        )
        let wanted = all.compactMap { tree, subject in
            found[tree].map { (tree, $0.mapped(by: successors), subject) }
        }
        let hosts = Dictionary(likes.map { ($0.oid, $0.table.oid) }) { first, _ in first }
        let digests = try await Meaning.digests(of: wanted.map(\.1), on: connection)
        return zip(wanted, digests).map { entry, digest in
            let (tree, _, subject) = entry
            return (tree.moved(to: hosts[tree.host] ?? tree.host), digest, subject)
        }
    }

    private func isAnythingGiven(on connection: PostgresConnection) async throws -> Bool {
        let row = try await connection.query(
            """
            SELECT EXISTS (SELECT FROM pg_catalog.pg_event_trigger AS t
                    WHERE t.evtenabled IN ('O', 'A'))
                OR EXISTS (SELECT FROM pg_catalog.pg_default_acl AS a
                    JOIN pg_catalog.pg_roles AS r ON r.oid = a.defaclrole
                    WHERE r.rolname = current_user AND a.defaclobjtype IN ('r', 'S')) AS found
            """
        ).first
        return try row?.bool("found") ?? false
    }

    private func refusal(_ reason: String) -> ReadModelError {
        .refusedByPlan(projection: projection, reasons: [reason])
    }

    /// What CREATE TABLE … (LIKE …) does not copy, so that it is of event triggers.
    private static let settingsQuery = """
        SELECT pg_catalog.format('settings of %s', c.oid::pg_catalog.regclass) AS subject,
            'made as for a table that is made there' AS note, NULL AS locked, NULL AS release,
            CASE WHEN c.relreplident IN ('f', 'n') THEN pg_catalog.format(
                'ALTER TABLE %s REPLICA IDENTITY %s', c.oid::pg_catalog.regclass,
                CASE c.relreplident WHEN 'f' THEN 'FULL' ELSE 'NOTHING' END) END AS restore_1,
            (SELECT pg_catalog.format('ALTER TABLE %s SET (%s)', c.oid::pg_catalog.regclass,
                    pg_catalog.string_agg(pg_catalog.format('%s = %L',
                        pg_catalog.split_part(o.text, '=', 1),
                        pg_catalog.substr(o.text, pg_catalog.strpos(o.text, '=') + 1)), ', '))
                FROM pg_catalog.unnest(c.reloptions) AS o (text)
                HAVING pg_catalog.count(*) > 0) AS restore_2,
            CASE WHEN d.description IS NOT NULL THEN pg_catalog.format(
                'COMMENT ON TABLE %s IS %L', c.oid::pg_catalog.regclass, d.description) END
                AS restore_3
        FROM pg_catalog.pg_class AS c
        LEFT JOIN pg_catalog.pg_description AS d ON d.objoid = c.oid AND d.objsubid = 0
            AND d.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass
        WHERE c.oid = ANY ($1::pg_catalog.oid[]) AND (c.relreplident IN ('f', 'n')
            OR c.reloptions IS NOT NULL OR d.description IS NOT NULL)
        ORDER BY c.relname
        """
}
