import Postgres
import Wording

/// Drops a generation that is not live: its tables by their recorded OIDs, then its home schema.
///
/// Always RESTRICT: what somebody hung onto the old tables is named, not destroyed. Nothing here
/// needs a lock on a live table.
enum GenerationDrop {
    /// Drops the tables in one transaction.
    ///
    /// - Throws: ``ReadModelError/changedMeanwhile(projection:reason:)`` when a recorded table is
    ///   not in the generation's home; the server's error when something depends on a table, or it
    ///   is locked for more than 400 ms.
    static func drop(
        _ generation: GenerationRecord,
        on connection: PostgresConnection
    ) async throws {
        precondition(generation.state != .live, "a live generation cannot be dropped")
        try await dropTables(of: generation, in: generation.homeSchemaOID, on: connection)
    }

    /// Drops the tables of the live generation, because somebody has said so.
    ///
    /// - Throws: As ``drop(_:on:)``.
    private static func dropLive(
        _ generation: GenerationRecord,
        on connection: PostgresConnection
    ) async throws {
        let schema = try await connection.query(
            "SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = $1",
            [.text(generation.liveSchema)]
        ).first
        try await dropTables(
            of: generation,
            in: try schema.map { UInt32(try $0.int("oid")) },
            on: connection
        )
    }

    /// - Parameters:
    ///   - generation: Whose tables.
    ///   - place: The schema in which all of them must be.
    ///   - connection: Where to drop them, outside of a transaction.
    /// - Throws: As ``drop(_:on:)``.
    private static func dropTables(
        of generation: GenerationRecord,
        in place: UInt32?,
        on connection: PostgresConnection
    ) async throws {
        try await connection.withTransaction { connection in
            // A foreign key to a table of others is dropped with an exclusive lock on that table:
            // its readers wait behind this session, and not for longer than behind a cut-over.
            try await connection.execute("SET LOCAL lock_timeout = '400ms'")
            try await EventTriggerTrust.assert(on: connection)
            let relations = try await relations(of: generation, in: place, on: connection)
            try await assertRecorded(generation, on: connection)
            let others = try await companions(of: generation, in: place, on: connection)
            guard others.isEmpty else { throw Kept(reason: others.joined(separator: ", ")) }
            for (noun, names) in relations where noun == "TABLE" && !names.isEmpty {
                // A reader that asks with NOWAIT, as pg_dump does, would fail behind a lock that waits.
                try await connection.execute(
                    "LOCK TABLE \(names.map(\.sql).joined(separator: ", ")) "
                        + "IN ACCESS EXCLUSIVE MODE NOWAIT"
                )
            }
            for (noun, names) in relations where !names.isEmpty {
                try await connection.execute(
                    "DROP \(noun) \(names.map(\.sql).joined(separator: ", ")) RESTRICT"
                )
            }
            try await dropHome(of: generation, on: connection)
            try await Bookkeeping.setState(
                .dropped,
                of: generation.number,
                projection: generation.projection,
                on: connection
            )
        }
    }

    /// Drops it, unless something depends on one of its tables or a reader has them locked.
    ///
    /// - Returns: What keeps it; nil when it is dropped.
    static func dropIfFree(
        _ generation: GenerationRecord,
        on connection: PostgresConnection
    ) async throws -> String? {
        try await reasonNot(to: drop, generation, on: connection)
    }

    /// The same of the live generation, whose tables readers lose.
    static func dropLiveIfFree(
        _ generation: GenerationRecord,
        on connection: PostgresConnection
    ) async throws -> String? {
        try await reasonNot(to: dropLive, generation, on: connection)
    }

    private static func reasonNot(
        to drop: (GenerationRecord, PostgresConnection) async throws -> Void,
        _ generation: GenerationRecord,
        on connection: PostgresConnection
    ) async throws -> String? {
        do {
            try await drop(generation, connection)
            return nil
        } catch let kept as Kept {
            return kept.reason
        } catch let error as ServerError where ["2BP01", "55P03"].contains(error.sqlState) {
            // Without the server's hint: it suggests CASCADE.
            return [error.message, error.detail.map { TextForPeople.oneLine($0) }]
                .compactMap { $0 }.joined(separator: ": ")
        }
    }

    /// Fails where the home schema is there and the tables in it have other numbers than recorded: a dump
    /// was restored.
    ///
    /// The error names the homes of all generations of which that is so: each would be in the way.
    private static func assertRecorded(
        _ generation: GenerationRecord,
        on connection: PostgresConnection
    ) async throws {
        guard try await hasOtherTables(generation, on: connection) else { return }
        var others: [String] = []
        for record in try await Bookkeeping.generations(
            of: generation.projection,
            on: connection
        ).reversed()
        where record.isNotLive && record.hasTables {
            guard try await hasOtherTables(record, on: connection) else { continue }
            others.append("'\(record.homeSchema)' (generation \(record.number))")
        }
        throw ReadModelError.changedMeanwhile(
            projection: generation.projection,
            reason:
                "the tables in these schemas are not those that were recorded, so they were not "
                + "dropped: \(others.joined(separator: ", ")). \(LiveTables.afterRestore)"
        )
    }

    private static func hasOtherTables(
        _ generation: GenerationRecord,
        on connection: PostgresConnection
    ) async throws -> Bool {
        guard generation.homeSchemaOID == nil, !generation.tables.isEmpty else { return false }
        let found = try await connection.query(
            """
            SELECT FROM pg_catalog.pg_class AS c
            JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
            WHERE n.nspname = $1 AND c.relname = ANY ($2::pg_catalog.text[]) LIMIT 1
            """,
            [.text(generation.homeSchema), .texts(generation.tables.map(\.name))]
        ).first
        return found != nil
    }

    /// Something of others would be dropped with a table.
    private struct Kept: Error {
        let reason: String
    }

    /// What RESTRICT lets go with the tables although it is not part of them: it stands outside their
    /// home schema.
    private static func companions(
        of generation: GenerationRecord,
        in place: UInt32?,
        on connection: PostgresConnection
    ) async throws -> [String] {
        guard let home = place else { return [] }
        try await connection.setSearchPath([])
        return try await connection.query(
            """
            SELECT DISTINCT pg_catalog.format('%s goes with %s', pg_catalog.pg_describe_object(
                d.classid, d.objid, d.objsubid), d.refobjid::pg_catalog.regclass) AS reason
            FROM pg_catalog.pg_depend AS d
            LEFT JOIN pg_catalog.pg_class AS c ON c.oid = d.objid
                AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
            LEFT JOIN pg_catalog.pg_trigger AS t ON t.oid = d.objid
                AND d.classid = 'pg_catalog.pg_trigger'::pg_catalog.regclass AND NOT t.tgisinternal
            LEFT JOIN pg_catalog.pg_class AS h ON h.oid = t.tgrelid
            WHERE d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
                AND d.refobjid = ANY ($1::pg_catalog.oid[]) AND d.deptype IN ('a', 'i')
                AND coalesce(h.relnamespace, CASE WHEN c.relkind <> 't' THEN c.relnamespace END)
                    <> $2::pg_catalog.oid
            ORDER BY 1
            """,
            [.ints(generation.relationOIDs), .int(Int64(home))]
        ).rows.map { try $0.string("reason") }
    }

    /// Drops the empty home schema, if it is still the recorded one.
    static func dropHome(
        of generation: GenerationRecord,
        on connection: PostgresConnection
    ) async throws {
        guard let oid = generation.homeSchemaOID else { return }
        let found = try await connection.query(
            "SELECT FROM pg_catalog.pg_namespace WHERE oid = $1::pg_catalog.oid AND nspname = $2",
            [.int(Int64(oid)), .text(generation.homeSchema)]
        ).first
        guard found != nil else { return }
        try await connection.execute(
            "DROP SCHEMA \(SQLText.identifier(generation.homeSchema)) RESTRICT"
        )
    }

    /// Materialized views first: they read the tables.
    private static func relations(
        of generation: GenerationRecord,
        in place: UInt32?,
        on connection: PostgresConnection
    ) async throws -> [(noun: String, names: [QualifiedName])] {
        let result = try await connection.query(
            """
            SELECT c.oid, c.relname, n.nspname, c.relnamespace, c.relkind
            FROM pg_catalog.pg_class AS c
            JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
            WHERE c.oid = ANY ($1::pg_catalog.oid[]) AND c.relkind IN ('r', 'p', 'm')
            """,
            [.ints(generation.relationOIDs)]
        )
        let views = try result.rows.filter { try $0.string("relkind") == "m" }
        let tables = try result.rows.filter { try $0.string("relkind") != "m" }
        return [
            ("MATERIALIZED VIEW", try names(of: views, in: place, generation)),
            ("TABLE", try names(of: tables, in: place, generation)),
        ]
    }

    /// Their names, once it is sure that they are where the generation has them.
    private static func names(
        of rows: [QueryRow],
        in place: UInt32?,
        _ generation: GenerationRecord
    ) throws -> [QualifiedName] {
        try rows.map { row in
            let name = QualifiedName(
                schema: try row.string("nspname"),
                name: try row.string("relname")
            )
            guard
                let place,
                try row.int("relnamespace") == Int64(place),
                (name.schema == generation.liveSchema) == (generation.state == .live)
            else {
                throw ReadModelError.changedMeanwhile(
                    projection: generation.projection,
                    reason: "generation \(generation.number) is recorded as "
                        + "\(generation.state.rawValue), and its table \(name.sql) is not in "
                        + (generation.state == .live
                            ? generation.liveSchema : generation.homeSchema)
                        + "; it was not dropped"
                )
            }
            return name
        }
    }
}

/// What earlier runs of a projection left half done.
struct Leftovers {
    private let projection: String

    init(of projection: String) {
        self.projection = projection
    }

    /// Drops generations that were being built, or that a check rejected.
    ///
    /// The caller holds the projection's lock, so no living run owns them. One that something
    /// depends on stays; the next run tries again.
    func drop(on connection: PostgresConnection) async throws {
        for generation in try await Bookkeeping.generations(of: projection, on: connection)
        where generation.state == .building || generation.state == .rejected {
            _ = try await GenerationDrop.dropIfFree(generation, on: connection)
        }
    }
}

extension ReadModelDatabase {
    /// Drops what earlier rebuilds have built and nobody swapped in, before the run builds anew: a job
    /// that tries again and again would fill the disk with copies.
    ///
    /// One that something depends on stays.
    ///
    /// - Returns: What was dropped.
    /// - Throws: ``ReadModelError``.
    package func dropUnswapped(_ run: Run) async throws -> [Int] {
        try await withConnection(as: "discard", doing: "dropping generations never swapped in") {
            connection in
            var dropped: [Int] = []
            for generation in try await Bookkeeping.generations(
                of: run.projection,
                on: connection
            )
            where generation.state == .ready {
                let reason = try await GenerationDrop.dropIfFree(generation, on: connection)
                if reason == nil { dropped.append(generation.number) }
            }
            return dropped.sorted()
        }
    }

    /// Drops a generation that the run has built and that is not to go live.
    ///
    /// One that something depends on stays, rejected; the next run tries again.
    ///
    /// - Throws: ``ReadModelError``.
    package func discard(_ generation: Int, run: Run) async throws {
        try await withConnection(as: "discard", doing: "dropping generation \(generation)") {
            try await Bookkeeping.setState(
                .rejected,
                of: generation,
                projection: run.projection,
                on: $0
            )
            try await Leftovers(of: run.projection).drop(on: $0)
        }
    }
}
