import Postgres
import Wording

extension ReadModelDatabase {
    /// The projections that are recorded, in order.
    ///
    /// - Returns: None where there is no bookkeeping.
    /// - Throws: ``ReadModelError``.
    package func recordedProjections() async throws -> [String] {
        try await withConnection(as: "status", doing: "reading the projections") { connection in
            guard try await Bookkeeping.version(on: connection) > 0 else { return [] }
            return try await connection.query(
                "SELECT DISTINCT projection FROM reprise.generation ORDER BY 1"
            ).rows.map { try $0.string("projection") }
        }
    }

    /// Drops what Reprise keeps of a projection and forgets it: every generation that is not live, then
    /// its rows in the bookkeeping.
    ///
    /// The live tables stay as ordinary tables, unless they are to go as well. Nothing is forgotten as
    /// long as a generation cannot be dropped.
    ///
    /// - Parameters:
    ///   - run: The run that holds the projection's lock.
    ///   - dropsLive: Whether the live tables are dropped.
    /// - Throws: ``ReadModelError/nothingToMove(projection:reason:)`` when something keeps a generation,
    ///   ``ReadModelError/followerBusy(projection:holder:)``.
    package func remove(_ run: Run, dropsLive: Bool) async throws {
        let projection = run.projection
        try await withConnection(as: "remove", doing: "removing '\(projection)'") { connection in
            try await refuseFollower(of: projection, on: connection)
            let generations = try await Bookkeeping.generations(of: projection, on: connection)
            for generation in generations where generation.state != .live && generation.hasTables {
                let reason = try await GenerationDrop.dropIfFree(generation, on: connection)
                try Self.refuse(reason, generation)
            }
            if dropsLive, let live = generations.first(where: { $0.state == .live }) {
                let reason = try await GenerationDrop.dropLiveIfFree(live, on: connection)
                try Self.refuse(reason, live)
            }
            try await connection.withTransaction { connection in
                for table in ["follow_up", "generation_table", "swap", "checkpoint", "follower"] {
                    try await connection.query(
                        "DELETE FROM reprise.\(table) WHERE projection = $1",
                        [.text(projection)]
                    )
                }
                try await connection.query(
                    "DELETE FROM reprise.generation WHERE projection = $1",
                    [.text(projection)]
                )
                try await connection.query(
                    "DELETE FROM reprise.run WHERE projection = $1 AND run_id <> $2",
                    [.text(projection), .int(run.id)]
                )
            }
        }
    }

    private static func refuse(_ reason: String?, _ generation: GenerationRecord) throws {
        guard let reason else { return }
        throw ReadModelError.nothingToMove(
            projection: generation.projection,
            reason: "Generation \(generation.number) of '\(generation.projection)' could not be "
                + "dropped: \(reason). So '\(generation.projection)' is not forgotten."
        )
    }

    private func refuseFollower(
        of projection: String,
        on connection: PostgresConnection
    ) async throws {
        let follower = SessionLock.holders("$1")
        let name = SessionLock.follower(of: projection)
        let holder = try await connection.query(follower, [.text(name)]).first
        guard let pid = try holder?.int("pid") else { return }
        throw ReadModelError.followerBusy(projection: projection, holder: "session \(pid)")
    }

    /// What stands in the schema `reprise`, a line each.
    ///
    /// - Throws: ``ReadModelError``.
    package func bookkeepingObjects() async throws -> [String] {
        try await withConnection(as: "status", doing: "reading the bookkeeping") { connection in
            guard try await Bookkeeping.version(on: connection) > 0 else { return [] }
            return try await Self.bookkeepingRelations(on: connection).map(\.name.sql)
        }
    }

    /// Drops the schema `reprise`, when no projection is recorded in it any more and nobody works.
    ///
    /// Always RESTRICT: what somebody hung onto it is named, not destroyed.
    ///
    /// - Throws: ``ReadModelError``.
    package func dropBookkeeping() async throws {
        try await withConnection(as: "reset", doing: "dropping the bookkeeping") { connection in
            guard try await Bookkeeping.version(on: connection) > 0 else { return }
            try await connection.withTransaction { connection in
                try await connection.execute("SET LOCAL lock_timeout = '2s'")
                try await EventTriggerTrust.assert(on: connection)
                let relations = try await Self.bookkeepingRelations(on: connection)
                let (views, tables) = (
                    relations.filter(\.isView).map(\.name.sql),
                    relations.filter { !$0.isView }.map(\.name.sql)
                )
                try await connection.execute(
                    "LOCK TABLE \(tables.joined(separator: ", ")) IN ACCESS EXCLUSIVE MODE"
                )
                try await Self.refuseWork(on: connection)
                if !views.isEmpty {
                    try await connection.execute(
                        "DROP VIEW \(views.joined(separator: ", ")) RESTRICT"
                    )
                }
                try await connection.execute(
                    "DROP TABLE \(tables.joined(separator: ", ")) RESTRICT"
                )
                try await connection.execute("DROP SCHEMA reprise RESTRICT")
            }
        }
    }

    /// Fails while a generation is recorded, or a session works.
    private static func refuseWork(on connection: PostgresConnection) async throws {
        let found = try await connection.query(
            """
            SELECT projection, 'it is still recorded' AS reason FROM reprise.generation
            UNION ALL
            SELECT k.name, 'session ' || h.pid || ' works on it'
            FROM reprise.session_lock AS k,
                LATERAL (\(SessionLock.holders("k.name"))) AS h
            LIMIT 1
            """
        ).first
        guard let found else { return }
        throw ReadModelError.nothingToMove(
            projection: try found.string("projection"),
            reason:
                "The bookkeeping was not dropped, because of '\(try found.string("projection"))': "
                + "\(try found.string("reason"))."
        )
    }

    private static func bookkeepingRelations(
        on connection: PostgresConnection
    ) async throws -> [(name: QualifiedName, isView: Bool)] {
        try await connection.query(
            """
            SELECT c.relname, c.relkind = 'v' AS is_view FROM pg_catalog.pg_class AS c
            JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
            WHERE n.nspname = 'reprise' AND c.relkind IN ('r', 'v') ORDER BY 2, 1
            """
        ).rows.map {
            (
                QualifiedName(schema: "reprise", name: try $0.string("relname")),
                try $0.bool("is_view")
            )
        }
    }
}
