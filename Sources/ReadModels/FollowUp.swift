import Postgres
import Wording

/// What a swap leaves to be done after COMMIT, while readers go on.
///
/// It is recorded in the swap's own transaction, so that the next run does what a dead one left.
struct FollowUp: Equatable, Sendable {
    /// What is to be done.
    enum Kind: String, Sendable {
        /// A foreign key of another table was made again NOT VALID: look whether all its rows have
        /// a parent.
        case validate
        /// A materialized view reads the tables through a view: it holds the old rows until then.
        case refresh
    }

    let kind: Kind
    /// The table of the foreign key, or the materialized view.
    let relation: UInt32
    /// The constraint's name, or the materialized view's, qualified.
    let objectName: String

    /// The statement that records it.
    func record(run: RunMark) -> String {
        """
        INSERT INTO reprise.follow_up (run_id, projection, kind, relation, object_name)
        VALUES (\(run.id), \(SQLText.literal(run.projection)), '\(kind.rawValue)', \(relation), \
        \(SQLText.literal(objectName)))
        """
    }
}

/// What swaps of a projection have left to be done.
struct FollowUps: Sendable {
    let projection: String
    let database: ReadModelDatabase

    /// Does it, on a connection of its own, and forgets what is done.
    ///
    /// Readers and writers go on: validating takes no lock that stops them, and only materialized
    /// views that can be refreshed CONCURRENTLY are among it.
    ///
    /// - Returns: A sentence for each that could not be done; the next run tries those again.
    func perform() async -> [String] {
        do {
            return try await database.withConnection(
                as: "follow-up",
                doing: "finishing what a swap left to be done"
            ) { connection in
                try await connection.setSessionSearchPath([])
                var complaints: [String] = []
                for row in try await pending(on: connection) {
                    if let complaint = try await perform(row, on: connection) {
                        complaints.append(complaint)
                    }
                }
                return complaints
            }
        } catch is CancellationError {
            // Asked for in a task that is not cancelled; it is one short statement.
            let isNone = try? await Task {
                try await database.withConnection(
                    as: "follow-up",
                    doing: "looking what a swap left to be done"
                ) { try await pending(on: $0).isEmpty }
            }.value
            if isNone == true { return [] }
            return [
                "What the swap left to be done waits for the next run: this one was interrupted."
            ]
        } catch {
            return [
                "What the swap left to be done waits for the next run: "
                    + TextForPeople.oneLine(error)
            ]
        }
    }

    /// A row whose object is gone, or was seen to by somebody else, has no statement.
    private func pending(on connection: PostgresConnection) async throws -> [QueryRow] {
        try await connection.query(
            """
            SELECT f.follow_up_id, f.relation, o.confrelid AS parent,
                pg_catalog.format('The foreign key %I of %s is NOT VALID.', f.object_name,
                    f.relation::pg_catalog.regclass) AS key, CASE
                WHEN f.kind = 'validate' AND o.oid IS NOT NULL AND NOT o.convalidated
                THEN pg_catalog.format('ALTER TABLE %s VALIDATE CONSTRAINT %I',
                    o.conrelid::pg_catalog.regclass, o.conname)
                WHEN f.kind = 'refresh' AND c.oid IS NOT NULL
                THEN pg_catalog.format('REFRESH MATERIALIZED VIEW CONCURRENTLY %s',
                    c.oid::pg_catalog.regclass)
                END AS statement,
                CASE f.kind WHEN 'validate' THEN pg_catalog.format(
                    'The foreign key %I of %s is NOT VALID: not every row has a parent. Fix the '
                        || 'rows; the next run validates it.', f.object_name,
                    f.relation::pg_catalog.regclass)
                ELSE pg_catalog.format('The materialized view %s holds rows of the old tables: '
                    || 'refresh it.', f.object_name) END AS complaint
            FROM reprise.follow_up AS f
            LEFT JOIN pg_catalog.pg_constraint AS o ON f.kind = 'validate'
                AND o.conrelid = f.relation AND o.conname = f.object_name AND o.contype = 'f'
            LEFT JOIN pg_catalog.pg_class AS c ON f.kind = 'refresh' AND c.oid = f.relation
                AND c.relkind = 'm' AND c.relispopulated
            WHERE f.projection = $1 ORDER BY f.follow_up_id
            """,
            [.text(projection)]
        ).rows
    }

    /// A foreign key is validated by a query of the table, as its owner; a materialized view is refreshed
    /// as its owner by the server.
    ///
    /// - Returns: Why it is not done, as a sentence; nil when it is.
    private func run(
        _ statement: String,
        on relation: UInt32,
        to parent: UInt32?,
        _ connection: PostgresConnection
    ) async throws -> String? {
        guard let parent else {
            try await connection.execute(statement)
            return nil
        }
        return try await connection.withTransaction { connection in
            try await lock(relation, parent, on: connection)
            return try await validate(statement, on: relation, to: parent, connection)
        }
    }

    /// What stands on the tables stays as it is until the end of the transaction, as far as this role may
    /// lock them.
    private func lock(
        _ relation: UInt32,
        _ parent: UInt32,
        on connection: PostgresConnection
    ) async throws {
        let locks = try await connection.query(
            """
            SELECT pg_catalog.format('LOCK TABLE %s IN SHARE UPDATE EXCLUSIVE MODE',
                    $1::pg_catalog.oid::pg_catalog.regclass) AS child,
                CASE WHEN pg_catalog.has_table_privilege($2::pg_catalog.oid,
                    'UPDATE, DELETE, TRUNCATE') THEN pg_catalog.format(
                    'LOCK TABLE %s IN ROW EXCLUSIVE MODE',
                    $2::pg_catalog.oid::pg_catalog.regclass) END AS parent
            """,
            [.int(Int64(relation)), .int(Int64(parent))]
        ).first
        for column in ["child", "parent"] {
            if let statement = locks?[column] { try await connection.execute(statement) }
        }
    }

    private func validate(
        _ statement: String,
        on relation: UInt32,
        to parent: UInt32,
        _ connection: PostgresConnection
    ) async throws -> String? {
        let code = try await OthersCode(of: [relation, parent], on: connection)
        let owner = code.owner(of: relation)
        // Validating reads both tables with the rights of one role.
        let strangers = code.readingOwners.subtracting([owner?.owner].compactMap { $0 })
        guard strangers.isEmpty else {
            let roles = strangers.sorted().joined(separator: " and ")
            return "An index or statistics would run code of \(roles) with the rights of another "
                + "role, so it is not validated: drop that, or validate it by hand."
        }
        guard let owner else {
            try await connection.execute(statement)
            return nil
        }
        try await owner.define([statement], under: "pg_catalog", on: connection)
        return nil
    }

    private func perform(
        _ row: QueryRow,
        on connection: PostgresConnection
    ) async throws -> String? {
        if let statement = row["statement"] {
            do {
                let obstacle = try await run(
                    statement,
                    on: UInt32(try row.int("relation")),
                    to: try row.optionalInt("parent").map { UInt32($0) },
                    connection
                )
                if let obstacle { return try "\(row.string("key")) \(obstacle)" }
            } catch let error as ServerError {
                return try "\(row.string("complaint")) The server says: "
                    + TextForPeople.oneLine(error)
            }
        }
        try await connection.query(
            "DELETE FROM reprise.follow_up WHERE follow_up_id = $1",
            [.int(try row.int("follow_up_id"))]
        )
        return nil
    }
}
