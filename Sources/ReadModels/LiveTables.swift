import Postgres
import ProjectionKit
import Wording

/// The tables that readers see now, and the generation they belong to.
struct LiveTables: Sendable {
    /// The generation they belong to: the recorded one, or 0 when they were there before.
    ///
    /// Nil when there are no live tables yet.
    let generation: GenerationRecord?
    /// The tables, by name.
    ///
    /// Of an older shape there can be more, or fewer, than are declared.
    let tables: [TableDescription]

    /// Whether they are not recorded yet: generation 0, or the next number when an earlier live
    /// generation was dropped by hand.
    let isAdopted: Bool

    /// The OIDs of the tables.
    var oids: [UInt32] { tables.map(\.oid) }

    /// Finds them.
    ///
    /// - Parameters:
    ///   - projection: The projection's name.
    ///   - declared: Names of the tables that the projection declares.
    ///   - schema: The live schema.
    ///   - records: The projection's generations.
    ///   - connection: Where to ask.
    /// - Returns: The tables, none when there are none yet.
    /// - Throws: ``ReadModelError/changedMeanwhile(projection:reason:)`` when a table under a live
    ///   name is not the recorded one.
    static func find(
        of projection: String,
        declared: [String],
        schema: String,
        records: [GenerationRecord],
        on connection: PostgresConnection
    ) async throws -> LiveTables {
        let live = records.first { $0.state == .live }
        let names = Set(declared).union(live?.tables.map(\.name) ?? []).sorted()
        let found = try await Catalogue.tables(
            names.map { QualifiedName(schema: schema, name: $0) },
            on: connection
        )
        try await refuseTablesOfOthers(found, than: projection, on: connection)
        guard let live else {
            guard !found.isEmpty else {
                return LiveTables(generation: nil, tables: [], isAdopted: false)
            }
            let number = records.map { $0.number + 1 }.max() ?? 0
            let tables = found.map {
                GenerationRecord.TableRecord(name: $0.name.name, oid: $0.oid)
            }
            return LiveTables(
                generation: GenerationRecord(
                    projection: projection,
                    number: number,
                    state: .live,
                    liveSchema: schema,
                    homeSchema: try await HomeSchema.free(
                        for: projection,
                        generation: number,
                        on: connection
                    ),
                    tables: tables
                ),
                tables: found,
                isAdopted: true
            )
        }
        try await refuseStrays(of: live, besides: found, in: schema, on: connection)
        if found.isEmpty { return LiveTables(generation: live, tables: [], isAdopted: false) }
        let recorded = Dictionary(uniqueKeysWithValues: live.tables.map { ($0.name, $0.oid) })
        let strangers = found.filter { recorded[$0.name.name] != $0.oid }
        if let table = strangers.first {
            throw ReadModelError.changedMeanwhile(
                projection: projection,
                reason: "\(table.name.sql) is not the table that generation \(live.number) put "
                    + "there. "
                    + (strangers.count == found.count
                        ? afterRestore : "If it was made anew by hand, rename or drop it")
            )
        }
        return LiveTables(
            generation: try await live.withHomeOfItsOwn(on: connection),
            tables: found,
            isAdopted: false
        )
    }

    /// What to do where no table has the number that was recorded.
    static let afterRestore =
        "After a dump was restored, run the script in docs/operating.md, "
        + "\"A restored dump\""

    /// Fails when a table under one of the names is what another projection has live: whoever
    /// adopted it would take it away from there.
    private static func refuseTablesOfOthers(
        _ tables: [TableDescription],
        than projection: String,
        on connection: PostgresConnection
    ) async throws {
        guard !tables.isEmpty, try await Bookkeeping.version(on: connection) > 0 else { return }
        let owner = try await connection.query(
            """
            SELECT g.projection, t.table_name FROM reprise.generation AS g
            JOIN reprise.generation_table AS t USING (projection, generation)
            WHERE g.state = 'live' AND g.projection <> $1
                AND t.table_oid = ANY ($2::pg_catalog.oid[]) ORDER BY 1, 2
            """,
            [.text(projection), .ints(tables.map { Int64($0.oid) })]
        ).first
        guard let owner else { return }
        throw ReadModelError.changedMeanwhile(
            projection: projection,
            reason: "the table '\(try owner.string("table_name"))' belongs to the projection "
                + "'\(try owner.string("projection"))'; a table has one owner, so give this one's "
                + "another name"
        )
    }

    /// Fails when a recorded table still exists, but elsewhere: its readers are not those of the
    /// live schema, and to take it for gone would leave it to nobody.
    private static func refuseStrays(
        of live: GenerationRecord,
        besides found: [TableDescription],
        in schema: String,
        on connection: PostgresConnection
    ) async throws {
        let missing = live.tables.filter { table in
            !found.contains { $0.oid == table.oid && $0.name.name == table.name }
        }
        guard !missing.isEmpty else { return }
        let elsewhere = try await Catalogue.tables(oids: missing.map(\.oid), on: connection)
        guard let stray = elsewhere.first,
            let table = missing.first(where: { $0.oid == stray.oid })
        else { return }
        let wanted = QualifiedName(schema: schema, name: table.name)
        throw ReadModelError.changedMeanwhile(
            projection: live.projection,
            reason: "\(wanted.sql) of generation \(live.number) is now \(stray.name.sql). Move "
                + "it back or drop it"
                + (live.liveSchema == schema
                    ? ""
                    : ", or name its schema with --schema "
                        + TextForPeople.argument(live.liveSchema))
        )
    }

    /// Tables that were there before and that a role owns of which this one knows nothing, a sentence each.
    ///
    /// Its owner sees all rows of a table. Known are this role, superusers and the owner of the schema;
    /// a membership says that this role may act for another, not that its tables are the read model.
    func strangers(on connection: PostgresConnection) async throws -> [String] {
        let rows = try await connection.query(
            """
            SELECT c.oid::pg_catalog.regclass AS name, o.rolname AS owner,
                CASE WHEN NOT pg_catalog.pg_has_role(o.oid, 'MEMBER') THEN pg_catalog.format(
                    ' Where this role is to act for it: GRANT %I TO %I.', o.rolname, me.rolname) END
                    AS membership
            FROM pg_catalog.pg_class AS c
            JOIN pg_catalog.pg_roles AS o ON o.oid = c.relowner
            JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
            JOIN pg_catalog.pg_roles AS s ON s.oid = n.nspowner
            JOIN pg_catalog.pg_database AS d ON d.datname = pg_catalog.current_database()
            JOIN pg_catalog.pg_roles AS me ON me.rolname = current_user
            WHERE c.oid = ANY ($1::pg_catalog.oid[]) AND NOT o.rolsuper AND o.oid <> me.oid
                AND o.oid <> CASE s.rolname WHEN 'pg_database_owner' THEN d.datdba ELSE s.oid END
            ORDER BY 1
            """,
            [.ints(oids.map { Int64($0) })]
        ).rows
        return try rows.map { row in
            "\(try row.string("name")) was not made by Reprise and belongs to "
                + "\(try row.string("owner")), who would own the new table and see all its rows. "
                + "'--adopt' takes it over; rename or drop it where it is not the read model."
                + (row["membership"] ?? "")
        }
    }

    /// Records tables that were there before, in the caller's transaction.
    ///
    /// Nothing readers see changes.
    func adopt(on connection: PostgresConnection) async throws {
        guard isAdopted, let generation else { return }
        try await Bookkeeping.insert(generation, on: connection)
    }
}
