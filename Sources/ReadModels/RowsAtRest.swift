import Postgres

/// The rows of a generation at a moment from which on nobody may change them.
///
/// The commands that run before a cut-over may look at the new rows. What they changed would go live
/// behind the checks.
package struct RowsAtRest: Sendable {
    let generation: Int
    /// Rows by the table's OID.
    let counts: [Int64: Int]
    /// The first transaction of which nothing may be found, with the epoch.
    let firstXID: String
    /// What ``LiveShape/digest(of:on:)`` says of the tables.
    let shape: String

    /// Whether a row is of that transaction or a later one.
    fileprivate func isNewer(_ xmin: String) -> String {
        "pg_catalog.age(\(xmin)) <= pg_catalog.age("
            + "\(SQLText.literal(firstXID))::pg_catalog.xid8::pg_catalog.xid)"
    }
}

extension ReadModelDatabase {
    /// Counts the rows of a generation that is not live.
    ///
    /// - Throws: ``ReadModelError``.
    package func rowsAtRest(of generation: Int, run: Run) async throws -> RowsAtRest {
        try await withConnection(as: "check", doing: "counting the rows of the new tables") {
            connection in
            let record = try await Self.record(generation, of: run.projection, on: connection)
            let first = try await connection.query(
                """
                SELECT pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot()) AS next_xid
                """
            ).first?.string("next_xid")
            var counts: [Int64: Int] = [:]
            for table in try await Catalogue.tables(
                oids: record.tables.map(\.oid),
                on: connection
            ) {
                counts[Int64(table.oid)] = try await Self.count(
                    "SELECT pg_catalog.count(*) FROM \(table.name.sql)",
                    of: table,
                    on: connection
                )
            }
            return RowsAtRest(
                generation: generation,
                counts: counts,
                firstXID: first ?? "0",
                shape: try await Self.shape(of: record, on: connection)
            )
        }
    }

    /// Makes sure that nobody has changed the rows since.
    ///
    /// - Throws: ``ReadModelError/checkFailed(projection:generation:reasons:)``; a generation that was
    ///   ready is rejected then.
    package func assertAtRest(_ rows: RowsAtRest, run: Run) async throws {
        try await withConnection(as: "check", doing: "counting the rows of the new tables") {
            connection in
            let record = try await Self.record(rows.generation, of: run.projection, on: connection)
            var reasons: [String] = []
            for table in try await Catalogue.tables(
                oids: record.tables.map(\.oid),
                on: connection
            ) {
                // One scan: how many there are, or below zero how many were written since.
                let isNew = rows.isNewer("xmin")
                let found = try await Self.count(
                    """
                    SELECT CASE pg_catalog.count(*) FILTER (WHERE \(isNew)) WHEN 0
                        THEN pg_catalog.count(*)
                        ELSE - pg_catalog.count(*) FILTER (WHERE \(isNew)) END
                    FROM \(table.name.sql)
                    """,
                    of: table,
                    on: connection
                )
                let before = rows.counts[Int64(table.oid)] ?? 0
                guard found != before else { continue }
                reasons.append(
                    "'\(table.name.name)' was changed while hooks ran before the cut-over: "
                        + (found < 0
                            ? "\(-found) of its rows were written"
                            : "of \(before) rows \(found) are left")
                )
            }
            if try await Self.shape(of: record, on: connection) != rows.shape {
                reasons.append(
                    "a table was changed while hooks ran before the cut-over: its columns, indexes or "
                        + "constraints, or it was renamed or dropped"
                )
            }
            guard !reasons.isEmpty else { return }
            if record.state == .ready {
                try await Bookkeeping.setState(
                    .rejected,
                    of: record.number,
                    projection: record.projection,
                    on: connection
                )
            }
            throw ReadModelError.checkFailed(
                projection: run.projection,
                generation: rows.generation,
                reasons: reasons
            )
        }
    }

    private static func shape(
        of record: GenerationRecord,
        on connection: PostgresConnection
    ) async throws -> String {
        try await connection.withTransaction {
            try await LiveShape.digest(of: record.tables.map(\.oid), on: $0)
        }
    }

    private static func count(
        _ sql: String,
        of table: TableDescription,
        on connection: PostgresConnection
    ) async throws -> Int {
        try await connection.withTransaction { connection in
            let code = try await OthersCode(of: [table.oid], on: connection)
            return Int(try await connection.number(sql, as: code.owner(of: table.oid)) ?? 0)
        }
    }

    private static func record(
        _ generation: Int,
        of projection: String,
        on connection: PostgresConnection
    ) async throws -> GenerationRecord {
        let records = try await Bookkeeping.generations(of: projection, on: connection)
        guard let record = records.first(where: { $0.number == generation }) else {
            throw ReadModelError.nothingToMove(
                projection: projection,
                reason: "'\(projection)' has no generation \(generation)."
            )
        }
        return record
    }
}
