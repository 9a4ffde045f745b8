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
        /// What event triggers do beside them, and not for the tables of the generation.
        var findings: [Finding] = []
        /// The state of tables that are made in the live schema, under its names.
        var lines: Set<RelationState.Line> = []
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
    /// Those that the tables get when they go live, and have not yet.
    var foreignKeys: [OutgoingForeignKey] = []
    /// The text of `schema.sql` that makes all of the projection's tables, where none of them is live.
    var schema: String?

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
        var given = Given()
        let triggers = try await EventTriggers.names(on: connection)
        let traces = RelationLocks(besides: homeSchema)
        try await connection.execute(traces.declarationOfOutside)
        let known = try await traces.strong(on: connection)
        let rows = try await writtenRows(among: known, on: connection)
        let isByFile = try await runFile(triggers, &given, on: connection)
        let likes = try await makeLikes(of: tables, isMade: isByFile, on: connection)
        let all = try await traces.strong(on: connection)
        let written = try await writtenRows(among: all, on: connection)
            .filter { $0.value > rows[$0.key] ?? 0 }
        let locks = all.subtracting(known)
        let there = try await traces.relationsOutside(among: locks, on: connection)
        try await assertSameColumns(likes, on: connection)
        if !triggers.isEmpty {
            try await assertNothingBeside(likes, locks, there, triggers, on: connection)
            try await assertSameFeatures(likes, isByFile, triggers, on: connection)
            given.lines = try await RelationState.lines(
                of: likes.map { .init(label: "\($0.name)", oid: $0.oid) },
                on: connection
            )
            given.findings += try await writings(to: Set(written.keys), triggers, on: connection)
        }
        for like in likes {
            try await addRights(from: like, to: &given, on: connection)
        }
        try await addSequenceRights(to: &given, on: connection)
        let oids = likes.map(\.oid)
        var objects = try await TableAttachments.capture(on: oids, on: connection)
        objects += try await CarriedObject.ask(settingsQuery, of: oids, on: connection)
        try await assertMayPublish(oids, on: connection)
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

    /// Runs `schema.sql` in the live schema, so that event triggers see each of its statements.
    ///
    /// Where others can make functions and operators in the live schema, which the file would then find
    /// before the usual ones, it is not run, and only CREATE TABLE is.
    ///
    /// - Returns: Whether it ran.
    private func runFile(
        _ triggers: [String],
        _ given: inout Given,
        on connection: PostgresConnection
    ) async throws -> Bool {
        guard let schema, !triggers.isEmpty,
            SQLFile(name: "schema.sql", text: schema).transactionComplaint == nil
        else { return false }
        if let distrust = try await SearchPaths.distrust(of: liveSchema, on: connection) {
            given.findings.append(
                Finding(
                    .warn,
                    "schema.sql",
                    "it is not run in the schema '\(liveSchema)', because \(distrust). What an event "
                        + "trigger (\(triggers.joined(separator: ", "))) does there at other "
                        + "statements than CREATE TABLE is lost"
                )
            )
            return false
        }
        let path = try await SearchPaths.ofTables(
            in: liveSchema,
            liveSchema,
            like: [],
            on: connection
        )
        try await connection.setSearchPath(list: path)
        _ = try await connection.executeEach(schema)
        try await connection.setSearchPath([])
        return true
    }

    private func makeLikes(
        of tables: [TableDescription],
        isMade: Bool,
        on connection: PostgresConnection
    ) async throws -> [Like] {
        var likes: [Like] = []
        for table in tables {
            let name = QualifiedName(schema: liveSchema, name: table.name.name)
            if !isMade {
                try await EventTriggers.makeLike(of: table.name, as: name, on: connection)
            }
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

    /// What an event trigger makes beside a table is not there when the table's like is undone.
    private func assertNothingBeside(
        _ likes: [Like],
        _ locks: Set<RelationLocks.Lock>,
        _ there: [Int64: String],
        _ triggers: [String],
        on connection: PostgresConnection
    ) async throws {
        let new = locks.filter { $0.newcomer != nil && there[$0.relation] == nil }
        let made = try await relations(
            among: Set(new.map(\.relation)).subtracting(likes.map { Int64($0.oid) }),
            on: connection
        )
        guard !made.isEmpty else { return }
        throw refusal(
            "An event trigger (\(triggers.joined(separator: ", "))) makes "
                + "\(made.joined(separator: ", ")) when a table is made in the schema "
                + "'\(liveSchema)', and would not for the tables of the generation. Make these by "
                + "hand, with schema.sql in the schema '\(liveSchema)', and rebuild with --adopt."
        )
    }

    /// How many rows this transaction has written, as far as the server counts them.
    ///
    /// The locks do not tell: the tables of the generation have been made in the same transaction.
    private func writtenRows(
        among locks: Set<RelationLocks.Lock>,
        on connection: PostgresConnection
    ) async throws -> [Int64: Int64] {
        let rows = try await connection.query(
            """
            SELECT o.oid, pg_catalog.pg_stat_get_xact_tuples_inserted(o.oid)
                + pg_catalog.pg_stat_get_xact_tuples_updated(o.oid)
                + pg_catalog.pg_stat_get_xact_tuples_deleted(o.oid) AS rows
            FROM pg_catalog.unnest($1::pg_catalog.oid[]) AS o (oid)
            """,
            [.ints(Set(locks.map(\.relation)).sorted())]
        ).rows
        return try Dictionary(
            uniqueKeysWithValues: rows.map { (try $0.int("oid"), try $0.optionalInt("rows") ?? 0) }
        )
    }

    /// Tables that event triggers write to.
    private func writings(
        to tables: Set<Int64>,
        _ triggers: [String],
        on connection: PostgresConnection
    ) async throws -> [Finding] {
        try await relations(among: tables, on: connection).map { name in
            Finding(
                .warn,
                name,
                "an event trigger (\(triggers.joined(separator: ", "))) writes there when a table is "
                    + "made in the schema '\(liveSchema)'. The tables of the generation come from "
                    + "another schema, so it writes nothing, or something else, for them"
            )
        }
    }

    /// The names of relations, without indexes and what belongs to a column.
    private func relations(
        among oids: Set<Int64>,
        on connection: PostgresConnection
    ) async throws -> [String] {
        try await connection.query(
            """
            SELECT c.oid::pg_catalog.regclass AS name FROM pg_catalog.pg_class AS c
            WHERE c.oid = ANY ($1::pg_catalog.oid[]) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
                AND c.relnamespace::pg_catalog.regnamespace::pg_catalog.text !~ '^pg_'
            ORDER BY c.oid::pg_catalog.regclass::pg_catalog.text
            """,
            [.ints(oids.sorted())]
        ).rows.map { try $0.string("name") }
    }

    /// What event triggers put onto a table that is made in the live schema, and the table of the
    /// generation has not.
    private func assertSameFeatures(
        _ likes: [Like],
        _ isByFile: Bool,
        _ triggers: [String],
        on connection: PostgresConnection
    ) async throws {
        let given = try await shapes(of: likes.map(\.oid), in: [liveSchema], on: connection)
        let own = try await shapes(
            of: likes.map(\.table.oid),
            in: [homeSchema, liveSchema],
            on: connection
        )
        try await connection.setSearchPath([])
        let unlogged = try await connection.query(
            """
            SELECT c.relname FROM pg_catalog.pg_class AS c
            WHERE c.oid = ANY ($1::pg_catalog.oid[]) AND c.relpersistence = 'u'
            """,
            [.ints(likes.map { Int64($0.oid) })]
        ).rows.map { try $0.string("relname") }
        let pending = Set(foreignKeys.map { [$0.table, $0.feature] })
        for like in likes {
            let table = like.name.name
            let shape = own[table] ?? [:]
            var lost = (given[table] ?? [:]).inOrder.filter { feature in
                feature.value != shape[feature.key]?.value
                    && !isGiven(feature, besides: isByFile ? [:] : shape)
                    && !pending.contains([table, feature.key])
            }.map(\.key)
            if unlogged.contains(table) { lost.append("UNLOGGED") }
            if isByFile {
                lost += try await EventTriggerChanges.optionsOfIndexes(
                    of: like.oid,
                    otherThan: like.table.oid,
                    on: connection
                )
            }
            guard !lost.isEmpty else { continue }
            throw refusal(
                "An event trigger (\(triggers.joined(separator: ", "))) puts "
                    + "\(lost.joined(separator: ", ")) onto \(like.name.sql) when it is made, which "
                    + "the table of the generation has not. Put it into schema.sql, or let the "
                    + "trigger pass over \(like.name.sql)."
            )
        }
    }

    private func shapes(
        of tables: [UInt32],
        in path: [String],
        on connection: PostgresConnection
    ) async throws -> [String: TableShape] {
        try await TableShape.capture(of: tables, for: liveSchema, searchPath: path, on: connection)
    }

    /// Whether the table gets it by ``settingsQuery``, or `schema.sql` has the last word.
    private func isGiven(_ feature: TableFeature, besides shape: TableShape) -> Bool {
        if feature.kind == "not" { return false }
        return EventTriggers.isOfLike(feature) || feature.kind == "replica"
            || feature.kind == "setting" && !feature.key.hasPrefix("setting toast.")
            || feature.key == "comment of the table"
            || feature.kind == "comment" && shape[feature.key] != nil
    }

    /// An event trigger with its owner's rights publishes a table that this role may not.
    private func assertMayPublish(
        _ likes: [UInt32],
        on connection: PostgresConnection
    ) async throws {
        let reasons = try await connection.query(
            """
            SELECT DISTINCT pg_catalog.format('An event trigger adds new tables to the publication %I, '
                || 'which belongs to %I: %s. Or take the table out of the trigger.', p.pubname,
                o.rolname, \(Membership.grant("o.rolname"))) AS reason
            FROM pg_catalog.pg_publication_rel AS r
            JOIN pg_catalog.pg_publication AS p ON p.oid = r.prpubid
            JOIN pg_catalog.pg_roles AS o ON o.oid = p.pubowner
            WHERE r.prrelid = ANY ($1::pg_catalog.oid[])
                AND NOT pg_catalog.pg_has_role(p.pubowner, 'USAGE')
            ORDER BY 1
            """,
            [.ints(likes.map { Int64($0) })]
        ).rows.map { try $0.string("reason") }
        guard reasons.isEmpty else {
            throw ReadModelError.refusedByPlan(projection: projection, reasons: reasons)
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
            // That of an identity column has been made with the table's like, and all with the file.
            if try await relation(live, on: connection) == nil {
                try await connection.execute("CREATE SEQUENCE \(live.sql)")
            }
            guard let oid = try await relation(live, on: connection) else { continue }
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

    private func relation(
        _ name: QualifiedName,
        on connection: PostgresConnection
    ) async throws -> Int64? {
        try await connection.query(
            "SELECT pg_catalog.to_regclass($1)::pg_catalog.oid AS oid",
            [.text(name.sql)]
        ).first?.optionalInt("oid")
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
                    WHERE \(EventTriggers.fires))
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

    /// What the tables of the generation have not, so that it is of event triggers.
    private var settingsQuery: String {
        """
        SELECT pg_catalog.format('settings of %s', c.oid::pg_catalog.regclass) AS subject,
            'made as for a table that is made there' AS note, NULL AS locked, NULL AS release,
            CASE WHEN \(isOther("relreplident")) AND c.relreplident IN ('f', 'n') THEN pg_catalog.format(
                'ALTER TABLE %s REPLICA IDENTITY %s', c.oid::pg_catalog.regclass,
                CASE c.relreplident WHEN 'f' THEN 'FULL' ELSE 'NOTHING' END) END AS restore_1,
            CASE WHEN \(isOther("reloptions")) THEN
                (SELECT pg_catalog.format('ALTER TABLE %s SET (%s)', c.oid::pg_catalog.regclass,
                    pg_catalog.string_agg(pg_catalog.format('%s = %L',
                        pg_catalog.split_part(o.text, '=', 1),
                        pg_catalog.substr(o.text, pg_catalog.strpos(o.text, '=') + 1)), ', '))
                FROM pg_catalog.unnest(c.reloptions) AS o (text)
                HAVING pg_catalog.count(*) > 0) END AS restore_2,
            CASE WHEN d.description IS NOT NULL AND d.description IS DISTINCT FROM
                pg_catalog.obj_description(h.oid, 'pg_class') THEN pg_catalog.format(
                'COMMENT ON TABLE %s IS %L', c.oid::pg_catalog.regclass, d.description) END
                AS restore_3
        FROM pg_catalog.pg_class AS c
        JOIN pg_catalog.pg_namespace AS n ON n.nspname = \(SQLText.literal(homeSchema))
        JOIN pg_catalog.pg_class AS h ON h.relnamespace = n.oid AND h.relname = c.relname
        LEFT JOIN pg_catalog.pg_description AS d ON d.objoid = c.oid AND d.objsubid = 0
            AND d.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass
        WHERE c.oid = ANY ($1::pg_catalog.oid[]) AND (
            c.relreplident IN ('f', 'n') AND \(isOther("relreplident"))
            OR c.reloptions IS NOT NULL AND \(isOther("reloptions"))
            OR d.description IS NOT NULL AND d.description IS DISTINCT FROM
                pg_catalog.obj_description(h.oid, 'pg_class'))
        ORDER BY c.relname
        """
    }

    private func isOther(_ column: String) -> String { "c.\(column) IS DISTINCT FROM h.\(column)" }
}
