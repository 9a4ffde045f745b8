import Postgres
import ProjectionKit

/// A projection's `schema.sql`, run in the home schema of a generation that is being made.
///
/// The live schema is on the search path, because the tables may need its types. So a statement
/// that finds nothing in the home schema finds the live table of that name, and `DROP TABLE IF
/// EXISTS` in front of a CREATE TABLE would drop what readers use: what the file did is looked at
/// before anything of it is kept.
struct SchemaFile: Sendable {
    let text: String
    let projection: String
    let homeSchema: String
    let liveSchema: String
    /// The search path of the file, the home schema first.
    let searchPath: String
    /// The live tables, whose names the new ones will take over.
    let liveOIDs: [UInt32]

    /// Runs the file in the open transaction.
    ///
    /// - Returns: What event triggers put onto its tables.
    /// - Throws: ``ReadModelError/refusedByPlan(projection:reasons:)`` when it fails or does
    ///   anything but make tables; the caller then rolls back.
    func run(on connection: PostgresConnection) async throws -> EventTriggers.Marks {
        try await connection.execute(traces.declarationOfOutside)
        let triggers = try await EventTriggers.names(on: connection)
        var known = try await traces.strong(on: connection)
        if !triggers.isEmpty {
            known.formUnion(
                try await eventTriggers.whileProbing(on: connection) {
                    try await traces.strong(on: connection)
                } ?? []
            )
        }
        let others = try await made.objects(on: connection)
        try await runText(on: connection)
        let locks = try await traces.strong(on: connection).subtracting(known)
        let outside = try await traces.relationsOutside(among: locks, on: connection)
        var reasons = locks.compactMap { lock in
            outside[lock.relation] ?? lock.newcomer
        }.map {
            "schema.sql changes \($0). It may name only what it makes itself: take DROP TABLE and "
                + "its like out."
        }
        reasons.sort()
        reasons += try await objects(Self.foreignQuery, on: connection).map {
            "schema.sql makes \($0); it may hold tables only. What the tables need belongs into "
                + "setup.sql."
        }
        // What event triggers make elsewhere is theirs.
        if triggers.isEmpty {
            let new = try await made.objects(on: connection).subtracting(others)
            reasons += try await made.names(of: new, on: connection).map {
                "schema.sql makes or changes \($0), outside of its tables, and every rebuild would do so "
                    + "again. What the tables need belongs into setup.sql, which can be repeated."
            }
        }
        let (own, given) = try await marks(besides: triggers, on: connection)
        reasons += own.map {
            "schema.sql\(alternative(triggers)) makes \($0). Put it onto the live table: a swap "
                + "carries it over to the new one."
        }
        reasons += try await unfitTables(on: connection)
        reasons += try await takenNames(on: connection)
        guard reasons.isEmpty else {
            throw ReadModelError.refusedByPlan(projection: projection, reasons: reasons)
        }
        return given
    }

    /// Tables of a kind that cannot go live, and those that have rows.
    private func unfitTables(on connection: PostgresConnection) async throws -> [String] {
        var reasons = try await objects(Self.unloggedQuery, on: connection).map {
            "schema.sql makes the unlogged table \($0): a crash of the server would empty it."
        }
        reasons += try await objects(Self.typedQuery, on: connection).map {
            "schema.sql makes the table '\($0)' by CREATE TABLE … OF a type, and no swap could take its "
                + "place later. Write its columns down."
        }
        reasons += try await tablesWithRows(on: connection).map {
            "schema.sql puts rows into '\($0)'; only events make rows."
        }
        return reasons
    }

    private var eventTriggers: EventTriggers { EventTriggers(homeSchema: homeSchema) }

    private var made: ObjectTraces { ObjectTraces(besides: homeSchema) }

    private var traces: RelationLocks { RelationLocks(besides: homeSchema) }

    private func alternative(_ triggers: [String]) -> String {
        triggers.isEmpty ? "" : ", or an event trigger (\(triggers.joined(separator: ", "))),"
    }

    /// What stands on the tables that `schema.sql` has made, and is not of event triggers: what these
    /// have put there is taken off.
    private func marks(
        besides triggers: [String],
        on connection: PostgresConnection
    ) async throws -> (own: [String], given: EventTriggers.Marks) {
        let found = try await objects(Self.marksQuery, on: connection)
        guard !triggers.isEmpty else { return (found, EventTriggers.Marks()) }
        let tables = try await objects(Self.plainTablesQuery, on: connection)
        let given = try await eventTriggers.marks(
            on: tables,
            by: Self.marksQuery,
            searchPath: [homeSchema, liveSchema],
            on: connection
        )
        let own = found.filter { !given.objects.contains($0) }
        guard own.isEmpty else { return (own, given) }
        try await eventTriggers.strip(
            try await Catalogue.tables(
                tables.map { QualifiedName(schema: homeSchema, name: $0) },
                on: connection
            ),
            identified: given.identified,
            on: connection
        )
        return ([], given)
    }

    /// Runs it where its names are looked up: in the live schema only if nobody else can make
    /// something there.
    private func runText(on connection: PostgresConnection) async throws {
        let distrust = try await SearchPaths.distrust(of: liveSchema, on: connection)
        try await connection.setSearchPath(
            list: distrust == nil ? searchPath : SQLText.identifier(homeSchema)
        )
        do {
            try await SQLFile(name: "schema.sql", text: text).run(for: projection, on: connection)
        } catch ReadModelError.refusedByPlan(let projection, let reasons) {
            guard let distrust else {
                throw ReadModelError.refusedByPlan(projection: projection, reasons: reasons)
            }
            let note =
                "schema.sql does not find names of the schema '\(liveSchema)' unless they are "
                + "qualified, because \(distrust)"
            throw ReadModelError.refusedByPlan(projection: projection, reasons: reasons + [note])
        }
    }

    private func objects(
        _ query: String,
        on connection: PostgresConnection
    ) async throws -> [String] {
        try await connection.query(query, [.text(homeSchema)]).rows
            .map { try $0.string("object") }
    }

    private func tablesWithRows(on connection: PostgresConnection) async throws -> [String] {
        let tables = try await objects(Self.plainTablesQuery, on: connection)
        var filled: [String] = []
        for table in tables {
            let name = QualifiedName(schema: homeSchema, name: table)
            let row = try await connection.query("SELECT FROM \(name.sql) LIMIT 1")
            if !row.rows.isEmpty { filled.append(table) }
        }
        return filled
    }

    /// Names of the new objects that something else in the live schema has: the cut-over would
    /// fail, after all the work.
    private func takenNames(on connection: PostgresConnection) async throws -> [String] {
        let result = try await connection.query(
            Self.takenQuery,
            [.text(homeSchema), .text(liveSchema), .ints(liveOIDs.map { Int64($0) })]
        )
        return try result.rows.map {
            "schema.sql makes '\(try $0.string("name"))', and the live schema '\(liveSchema)' has "
                + "\(try $0.string("holder")), which is not the projection's: one of the two "
                + "needs another name."
        }
    }
}

extension SchemaFile {
    // Whatever lives in the schema, of any kind that there is or will be. Sequences that belong to
    // a column go along with its table, and so do extended statistics.
    private static let foreignQuery = """
        SELECT pg_catalog.pg_describe_object(d.classid, d.objid, 0) AS object
        FROM pg_catalog.pg_depend AS d
        JOIN pg_catalog.pg_namespace AS n ON n.oid = d.refobjid AND n.nspname = $1
        WHERE d.refclassid = 'pg_namespace'::pg_catalog.regclass
            AND d.classid <> 'pg_statistic_ext'::pg_catalog.regclass
            AND NOT (d.classid = 'pg_class'::pg_catalog.regclass AND EXISTS (
                SELECT FROM pg_catalog.pg_class AS c
                WHERE c.oid = d.objid AND (c.relkind IN ('r', 'p', 'i', 'I')
                    OR c.relkind = 'S' AND EXISTS (
                        SELECT FROM pg_catalog.pg_depend AS o
                        WHERE o.classid = 'pg_class'::pg_catalog.regclass AND o.objid = c.oid
                            AND o.deptype IN ('a', 'i')
                            AND o.refclassid = 'pg_class'::pg_catalog.regclass))))
        ORDER BY 1
        """

    private static let plainTablesQuery = """
        SELECT c.relname AS object FROM pg_catalog.pg_class AS c
        WHERE c.oid IN (\(SchemaContents.relationsOfNamed)) AND c.relkind = 'r' ORDER BY 1
        """

    private static let marksQuery = """
        SELECT 'trigger ' || t.tgname || ' on ' || c.relname AS object
        FROM pg_catalog.pg_trigger AS t
        JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid
        WHERE c.oid IN (\(SchemaContents.relationsOfNamed))
            AND NOT t.tgisinternal
        UNION ALL
        SELECT 'rule ' || r.rulename || ' on ' || c.relname
        FROM pg_catalog.pg_rewrite AS r
        JOIN pg_catalog.pg_class AS c ON c.oid = r.ev_class AND c.relkind IN ('r', 'p')
        WHERE c.oid IN (\(SchemaContents.relationsOfNamed))
        UNION ALL
        SELECT 'policy ' || p.polname || ' on ' || c.relname
        FROM pg_catalog.pg_policy AS p
        JOIN pg_catalog.pg_class AS c ON c.oid = p.polrelid
        WHERE c.oid IN (\(SchemaContents.relationsOfNamed))
        UNION ALL
        SELECT 'row-level security on ' || c.relname
        FROM pg_catalog.pg_class AS c
        WHERE c.oid IN (\(SchemaContents.relationsOfNamed))
            AND c.relkind IN ('r', 'p') AND (c.relrowsecurity OR c.relforcerowsecurity)
        ORDER BY 1
        """

    private static let unloggedQuery = """
        SELECT c.relname AS object FROM pg_catalog.pg_class AS c
        WHERE c.oid IN (\(SchemaContents.relationsOfNamed))
            AND c.relkind IN ('r', 'p') AND c.relpersistence <> 'p'
        ORDER BY 1
        """

    private static let typedQuery = """
        SELECT c.relname AS object FROM pg_catalog.pg_class AS c
        WHERE c.oid IN (\(SchemaContents.relationsOfNamed)) AND c.reloftype <> 0
        ORDER BY 1
        """

    private static let takenQuery = """
        WITH home (oid) AS (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = $1),
        live (oid) AS (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = $2),
        leaving (oid) AS (
            SELECT pg_catalog.unnest($3::pg_catalog.oid[])
            UNION SELECT indexrelid FROM pg_catalog.pg_index
            WHERE indrelid = ANY ($3::pg_catalog.oid[])
            UNION SELECT objid FROM pg_catalog.pg_depend
            WHERE classid = 'pg_class'::pg_catalog.regclass AND deptype IN ('a', 'i')
                AND refclassid = 'pg_class'::pg_catalog.regclass
                AND refobjid = ANY ($3::pg_catalog.oid[])
        ), made (oid) AS (
            \(SchemaContents.relations(of: "(SELECT oid FROM home)"))
        )
        SELECT n.relname AS name,
            pg_catalog.pg_describe_object('pg_class'::pg_catalog.regclass, o.oid, 0) AS holder
        FROM pg_catalog.pg_class AS n
        JOIN pg_catalog.pg_class AS o ON o.relname = n.relname
        WHERE n.oid IN (SELECT oid FROM made UNION ALL SELECT x.indexrelid
                FROM pg_catalog.pg_index AS x JOIN made ON made.oid = x.indrelid)
            AND o.relnamespace = (SELECT oid FROM live) AND o.oid NOT IN (SELECT oid FROM leaving)
        UNION ALL
        SELECT n.typname, pg_catalog.pg_describe_object('pg_type'::pg_catalog.regclass, o.oid, 0)
        FROM pg_catalog.pg_type AS n
        JOIN pg_catalog.pg_type AS o ON o.typname = n.typname AND o.typrelid = 0
        WHERE n.oid IN (SELECT c.reltype FROM pg_catalog.pg_class AS c JOIN made USING (oid))
            AND o.typnamespace = (SELECT oid FROM live)
        UNION ALL
        SELECT n.stxname,
            pg_catalog.pg_describe_object('pg_statistic_ext'::pg_catalog.regclass, o.oid, 0)
        FROM pg_catalog.pg_statistic_ext AS n
        JOIN pg_catalog.pg_statistic_ext AS o ON o.stxname = n.stxname
        WHERE n.stxnamespace = (SELECT oid FROM home)
            AND o.stxnamespace = (SELECT oid FROM live)
            AND o.stxrelid <> ALL ($3::pg_catalog.oid[])
        ORDER BY 1
        """
}
