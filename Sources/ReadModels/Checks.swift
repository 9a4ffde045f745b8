import Postgres
import ProjectionKit
import Wording

/// How much a rebuild may shrink a table before it is stopped.
package struct RowGuards: Sendable {
    /// The largest share of rows, 0 to 1, that may be missing from a new table.
    package let maxShrink: Double
    /// Whether a table that has rows may become empty.
    package let allowsEmpty: Bool

    /// Makes the limits.
    package init(maxShrink: Double = 0.5, allowsEmpty: Bool = false) {
        self.maxShrink = maxShrink
        self.allowsEmpty = allowsEmpty
    }

    /// Compares the row counts of a truncate with those of the live tables.
    ///
    /// - Throws: ``ReadModelError/reloadFailsCheck(projection:reasons:)``.
    func check(
        _ rows: [(name: String, count: Int)],
        against live: LiveTables,
        projection: String,
        on connection: PostgresConnection
    ) async throws {
        var reasons: [String] = []
        for (name, count) in rows {
            let complaint = try await complaint(
                about: name,
                rows: count,
                against: live,
                on: connection
            )
            if let complaint { reasons.append(complaint) }
        }
        guard reasons.isEmpty else {
            throw ReadModelError.reloadFailsCheck(projection: projection, reasons: reasons)
        }
    }

    /// Compares a table's new row count with that of the live one, inside a transaction.
    ///
    /// - Returns: What is wrong, as a sentence; nil when nothing is, or there is no live table.
    func complaint(
        about table: String,
        rows: Int,
        against live: LiveTables,
        on connection: PostgresConnection
    ) async throws -> String? {
        guard let table = live.tables.first(where: { $0.name.name == table }) else { return nil }
        let code = try await OthersCode(of: [table.oid], on: connection)
        let before = try await connection.number(
            "SELECT pg_catalog.count(*) FROM \(table.name.sql)",
            as: code.owner(of: table.oid)
        )
        return complaint(table: table.name.name, before: Int(before ?? 0), after: rows)
    }

    func complaint(table: String, before: Int, after: Int) -> String? {
        if after == 0 && before > 0 {
            return allowsEmpty
                ? nil
                : "'\(table)' would become empty; it has \(before) rows now (--allow-empty)"
        }
        guard before > 0, Double(before - after) > maxShrink * Double(before) else { return nil }
        let percent = Int((Double(before - after) / Double(before) * 100).rounded())
        return "'\(table)' would shrink by \(percent) %, from \(before) rows to \(after); "
            + "the limit is \(Int(maxShrink * 100)) % (--max-shrink)"
    }
}

/// The queries of `checks.sql`: one that returns a row says no.
struct SQLChecks: Sendable {
    let text: String

    /// Runs them in the open transaction of a truncate, read-only.
    ///
    /// - Throws: ``ReadModelError/reloadFailsCheck(projection:reasons:)`` with the number of
    ///   the query and its columns; never a value.
    func run(
        projection: String,
        searchPath: [String],
        on connection: PostgresConnection
    ) async throws {
        let reasons = try await reasons(
            projection: projection,
            searchPath: searchPath,
            on: connection
        )
        guard reasons.isEmpty else {
            throw ReadModelError.reloadFailsCheck(projection: projection, reasons: reasons)
        }
    }

    /// Runs them in the open transaction, read-only, and leaves no trace there.
    ///
    /// - Parameters:
    ///   - projection: The projection's name.
    ///   - searchPath: The schemas in which the queries find their tables.
    ///   - first: The number of the first one in the file that people know.
    ///   - owner: As whom they run; nil where this role does no harm by it.
    ///   - connection: Inside a transaction.
    /// - Returns: What is wrong, as clauses; never a value.
    /// - Throws: ``ServerError`` when a right is missing, or the queries are not to blame.
    func reasons(
        projection: String,
        searchPath: [String],
        countingFrom first: Int = 1,
        as owner: RestrictedOperation? = nil,
        on connection: PostgresConnection
    ) async throws -> [String] {
        if let owner {
            return try await restricted(owner, searchPath, countingFrom: first, on: connection)
        }
        try await connection.execute(
            "SAVEPOINT checks; SET LOCAL transaction_read_only = on"
        )
        try await connection.setSearchPath(searchPath)
        var reasons: [String] = []
        do {
            for (index, statement) in try statements(for: projection).enumerated() {
                let (rows, columns) = try await answer(to: statement, projection, on: connection)
                guard rows > 0 else { continue }
                reasons.append(
                    "query \(index + first) of checks.sql returns \(rows) rows "
                        + "(\(columns.joined(separator: ", ")))"
                )
            }
        } catch ReadModelError.refusedByPlan(_, let complaints) {
            reasons = complaints
        }
        // Read-only ends with the savepoint.
        try await connection.execute("ROLLBACK TO checks")
        return reasons
    }

    /// - Throws: ``ReadModelError/refusedByPlan(projection:reasons:)`` for one that ends the transaction.
    private func statements(for projection: String) throws -> [SQLFile.Statement] {
        let file = SQLFile(name: "checks.sql", text: text)
        if let complaint = file.transactionComplaint {
            throw ReadModelError.refusedByPlan(projection: projection, reasons: [complaint])
        }
        return file.statements
    }

    /// Runs one, and has its rows counted on the server: a check that goes wrong can have as many as the
    /// table.
    private func answer(
        to statement: SQLFile.Statement,
        _ projection: String,
        on connection: PostgresConnection
    ) async throws -> (rows: Int, columns: [String]) {
        func run(_ sql: String) async throws -> QueryResult? {
            try await SQLFile(name: "checks.sql", text: sql).run(for: projection, on: connection)
                .first
        }
        let result = try await run(statement.counting)
        guard statement.isQuery else { return (result?.rows.count ?? 0, result?.columns ?? []) }
        let rows = Int(try result?.first?.int("count") ?? 0)
        return (rows, rows > 0 ? try await run(statement.columns)?.columns ?? [] : [])
    }

    /// Runs them as the owner of tables on whose indexes the owner's own functions are, and leaves no
    /// trace either.
    private func restricted(
        _ owner: RestrictedOperation,
        _ searchPath: [String],
        countingFrom first: Int,
        on connection: PostgresConnection
    ) async throws -> [String] {
        guard let queries = SQLFile(name: "checks.sql", text: text).queries else {
            return [
                "checks.sql has statements other than queries, which cannot run as \(owner.owner), and "
                    + "it reads tables on whose indexes functions of this role are"
            ]
        }
        var reasons: [String] = []
        for (index, query) in queries.enumerated() {
            try await connection.execute("SAVEPOINT checks")
            try await connection.setSearchPath(searchPath)
            do {
                let rows = try await owner.number(
                    "SELECT pg_catalog.count(*) FROM (\(query)\n) AS q",
                    on: connection
                )
                if let rows, rows > 0 {
                    reasons.append("query \(index + first) of checks.sql returns \(rows) rows")
                }
            } catch let error as ServerError where !error.isNobodysFault {
                reasons.append(
                    "query \(index + first) of checks.sql, which runs as \(owner.owner): \(error)"
                )
            }
            try await connection.execute("ROLLBACK TO checks")
        }
        return reasons
    }

    /// What keeps queries from being planned, or from being run by the one role whose code is on indexes of
    /// what they read, and whether there is no such code.
    private func obstacles(
        _ own: [UInt32],
        _ searchPath: [String],
        on connection: PostgresConnection
    ) async throws -> ([String], isHarmless: Bool) {
        var obstacles: [String] = []
        var isHarmless = true
        let queries = SQLFile(name: "checks.sql", text: text).queries ?? [text]
        for (index, query) in queries.enumerated() {
            let read =
                try await SQLChecks(text: query).relationsRead(
                    searchPath: searchPath,
                    on: connection
                ) ?? own
            let code = try await OthersCode(of: read, on: connection)
            guard let owner = code.readingOwners.min() else { continue }
            isHarmless = false
            if let stranger = try await code.stranger(besides: own, on: connection) {
                obstacles.append(stranger + ".")
            } else if read.contains(where: { code.owner(of: $0)?.owner != owner }) {
                obstacles.append(
                    "query \(index + 1) of checks.sql reads tables of several owners, and a function of "
                        + "\(owner) on an index of one would run with the rights of another: give the "
                        + "tables one owner, or have the function taken off."
                )
            }
        }
        return (obstacles, isHarmless)
    }

    /// Runs them over tables that are still empty, so that a misspelt column is found before an
    /// hour of folding and not after.
    ///
    /// What depends on rows, such as a division by their number, says nothing here and is passed
    /// over.
    ///
    /// - Parameters:
    ///   - own: OIDs of the tables.
    ///   - searchPath: The schemas in which the queries find them.
    ///   - connection: Inside a transaction.
    /// - Returns: What the server can tell without rows: syntax, names, types, and writing.
    /// - Throws: ``ServerError``.
    func rehearse(
        on own: [UInt32],
        searchPath: [String],
        on connection: PostgresConnection
    ) async throws -> [String] {
        let file = SQLFile(name: "checks.sql", text: text)
        if let complaint = file.transactionComplaint { return [complaint] }
        let (obstacles, isHarmless) = try await obstacles(own, searchPath, on: connection)
        // Where it is not, they run as the owner, when there are rows.
        guard obstacles.isEmpty, isHarmless else { return obstacles }
        try await connection.execute(
            """
            SAVEPOINT checks; SET LOCAL transaction_read_only = on;
            SET LOCAL statement_timeout = '5s'
            """
        )
        try await connection.setSearchPath(searchPath)
        var complaints: [String] = []
        do {
            for statement in file.statements { try await connection.execute(statement.counting) }
        } catch let error as ServerError {
            let kind = error.sqlState.prefix(2)
            if ["0A", "25", "2D", "42"].contains(kind) {
                complaints.append("checks.sql: \(TextForPeople.oneLine(error))")
            }
        } catch let error as StatementError {
            complaints.append("checks.sql: \(TextForPeople.oneLine(error))")
        }
        try await connection.execute("ROLLBACK TO checks")
        return complaints
    }
}

extension GenerationRecord {
    /// Rows by table, where they are known.
    var rowCounts: [String: Int] {
        Dictionary(
            tables.compactMap { table in table.rowCount.map { (table.name, $0) } },
            uniquingKeysWith: { $1 }
        )
    }
}
