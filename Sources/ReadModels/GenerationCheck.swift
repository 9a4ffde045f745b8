import Postgres
import ProjectionKit
import Synchronization

extension ReadModelDatabase {
    /// Checks a built generation, and marks it ready when it passes and rejected when it does not.
    ///
    /// Rows of the live tables are counted and the queries of `checks.sql` run side by side, all on one
    /// snapshot. Where the file holds anything but queries it is run as a whole, in its order. Each sort
    /// or hash of a query may use as much memory as an index build (`maintenance_work_mem`), 128 MB at
    /// most: it is likely to be of whole tables.
    ///
    /// - Parameters:
    ///   - projection: What was built.
    ///   - generation: The generation's number.
    ///   - guards: How much the tables may shrink.
    ///   - jobs: Connections that ask side by side, 1 or more.
    /// - Returns: Its rows by table.
    /// - Throws: ``ReadModelError/checkFailed(projection:generation:reasons:)``.
    @discardableResult
    package func check(
        _ projection: ProjectionTables,
        generation: Int,
        guards: RowGuards,
        jobs: Int
    ) async throws -> [String: Int] {
        try await withConnection(as: "check", doing: "checking generation \(generation)") {
            connection in
            let records = try await Bookkeeping.generations(of: projection.name, on: connection)
            guard let record = records.first(where: { $0.number == generation }) else {
                throw ReadModelError.nothingToMove(
                    projection: projection.name,
                    reason: "'\(projection.name)' has no generation \(generation)."
                )
            }
            do {
                let check = GenerationCheck(
                    database: self,
                    projection: projection,
                    record: record,
                    guards: guards
                )
                try await check.run(among: records, jobs: jobs, on: connection)
            } catch {
                try await setState(.rejected, of: record, on: connection)
                throw error
            }
            try await setState(.ready, of: record, on: connection)
            return record.rowCounts
        }
    }

    private func setState(
        _ state: GenerationState,
        of record: GenerationRecord,
        on connection: PostgresConnection
    ) async throws {
        try await Bookkeeping.setState(
            state,
            of: record.number,
            projection: record.projection,
            on: connection
        )
    }
}

/// What is asked about a built generation before it may go live.
private struct GenerationCheck: Sendable {
    enum Question: Sendable {
        /// Whether `checks.sql`, or the query of it with that number, returns rows.
        case queries(String, first: Int)
        /// Whether the live table has many more rows than the new one, which has so many.
        case rows(String, Int)
    }

    let database: ReadModelDatabase
    let projection: ProjectionTables
    let record: GenerationRecord
    let guards: RowGuards

    /// - Throws: ``ReadModelError/checkFailed(projection:generation:reasons:)``.
    func run(
        among records: [GenerationRecord],
        jobs: Int,
        on connection: PostgresConnection
    ) async throws {
        let answers = try await connection.withTransaction("ISOLATION LEVEL REPEATABLE READ") {
            connection in
            let live = try await LiveTables.find(
                of: projection.name,
                declared: projection.tables.map(\.name),
                schema: database.liveSchema,
                records: records,
                on: connection
            )
            // An event trigger that changes a row keeps it locked to the end of this transaction, and
            // another session of ours would wait for it.
            let triggers = try await EventTriggers.names(on: connection)
            return try await ask(
                questions,
                about: live,
                jobs: triggers.isEmpty ? jobs : 1,
                on: connection
            )
        }
        // Queries over tables that are far too small say nothing more.
        let shrunken = answers.filter { $0.isAboutRows }.flatMap(\.reasons)
        let reasons = shrunken.isEmpty ? answers.flatMap(\.reasons) : shrunken
        guard reasons.isEmpty else {
            throw ReadModelError.checkFailed(
                projection: projection.name,
                generation: record.number,
                reasons: reasons
            )
        }
    }

    private struct Answer: Sendable {
        let place: Int
        let isAboutRows: Bool
        let reasons: [String]
    }

    /// The queries first: they are likely to take longer than counting.
    private var questions: [Question] {
        let checks = projection.checks ?? ""
        let file = SQLFile(name: "checks.sql", text: checks)
        let queries =
            file.queries?.enumerated().map { Question.queries($0.element, first: $0.offset + 1) }
            ?? [.queries(checks, first: 1)]
        return queries
            + record.rowCounts.sorted { $0.key < $1.key }.map { Question.rows($0.key, $0.value) }
    }

    /// Asks on this connection and on as many others as there are jobs for.
    private func ask(
        _ questions: [Question],
        about live: LiveTables,
        jobs: Int,
        on connection: PostgresConnection
    ) async throws -> [Answer] {
        let asked = Mutex(0)
        let next: @Sendable () -> Int? = {
            asked.withLock { asked in
                defer { asked += 1 }
                return asked < questions.count ? asked : nil
            }
        }
        return try await withThrowingTaskGroup(of: [Answer].self) { group in
            let others = min(jobs, questions.count) - 1
            if others > 0 {
                let snapshot = try await connection.query(
                    "SELECT pg_catalog.pg_export_snapshot() AS name"
                ).first?.string("name")
                for number in 1...others {
                    group.addTask {
                        try await withSnapshot(snapshot ?? "", as: "check \(number + 1)") {
                            connection in
                            try await answers(to: questions, next, about: live, on: connection)
                        }
                    }
                }
            }
            var all = try await answers(to: questions, next, about: live, on: connection)
            for try await some in group { all += some }
            return all.sorted { $0.place < $1.place }
        }
    }

    private func withSnapshot<Result: Sendable>(
        _ snapshot: String,
        as role: String,
        _ body: @Sendable (PostgresConnection) async throws -> Result
    ) async throws -> Result {
        try await database.withConnection(
            as: role,
            doing: "checking generation \(record.number)"
        ) { connection in
            try await connection.withTransaction("ISOLATION LEVEL REPEATABLE READ") {
                try await $0.execute("SET TRANSACTION SNAPSHOT \(SQLText.literal(snapshot))")
                return try await body($0)
            }
        }
    }

    private func answers(
        to questions: [Question],
        _ next: @Sendable () -> Int?,
        about live: LiveTables,
        on connection: PostgresConnection
    ) async throws -> [Answer] {
        try await connection.query(
            """
            SELECT pg_catalog.set_config('work_mem', m.wanted || 'kB', true)
            FROM (
                SELECT least(131072, pg_catalog.pg_size_bytes(
                    pg_catalog.current_setting('maintenance_work_mem')) / 1024) AS wanted
            ) AS m
            WHERE m.wanted
                > pg_catalog.pg_size_bytes(pg_catalog.current_setting('work_mem')) / 1024
            """
        )
        var answers: [Answer] = []
        while let place = next() {
            answers.append(
                try await answer(to: questions[place], at: place, about: live, on: connection)
            )
        }
        return answers
    }

    /// As whom queries of `checks.sql` are run; nil where this role does no harm by it.
    private func checker(
        of checks: SQLChecks,
        _ searchPath: [String],
        on connection: PostgresConnection
    ) async throws -> RestrictedOperation? {
        let own = record.tables.map(\.oid)
        let read = try await checks.relationsRead(searchPath: searchPath, on: connection) ?? own
        let code = try await OthersCode(of: read, on: connection)
        let owners = code.readingOwners.sorted()
        let reason: String
        if owners.count > 1 {
            reason =
                "checks.sql reads tables on whose indexes functions of "
                + "\(owners.joined(separator: " and ")) are, and can run as one of them only"
        } else if let stranger = try await code.stranger(besides: own, on: connection) {
            reason = stranger
        } else {
            return owners.first.map { RestrictedOperation(owner: $0) }
        }
        throw ReadModelError.checkFailed(
            projection: projection.name,
            generation: record.number,
            reasons: [reason]
        )
    }

    private func answer(
        to question: Question,
        at place: Int,
        about live: LiveTables,
        on connection: PostgresConnection
    ) async throws -> Answer {
        switch question {
        case .queries(let text, let first):
            let checks = SQLChecks(text: text)
            let path = try await SearchPaths.ofChecks(
                in: record.homeSchema,
                database.liveSchema,
                on: connection
            )
            let reasons = try await checks.reasons(
                projection: projection.name,
                searchPath: path,
                countingFrom: first,
                as: try await checker(of: checks, path, on: connection),
                on: connection
            )
            return Answer(place: place, isAboutRows: false, reasons: reasons)
        case .rows(let table, let count):
            let complaint = try await guards.complaint(
                about: table,
                rows: count,
                against: live,
                on: connection
            )
            return Answer(place: place, isAboutRows: true, reasons: complaint.map { [$0] } ?? [])
        }
    }
}
