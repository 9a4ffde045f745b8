import Postgres
import Wording
package import ProjectionKit

/// What a rebuild would do to the database, found out without changing it.
package struct ReadModelPlan: Sendable {
    /// A table of the plan.
    package struct Table: Sendable {
        /// Its name, qualified and quoted.
        package let name: String
        /// Rows of the live table by the planner's estimate; nil when there is none yet.
        package let liveRows: Int?
        /// Bytes of the live table with its indexes; nil when there is none yet.
        package let liveBytes: Int64?
        /// Columns that a rebuild writes.
        package let columns: Int
    }

    /// The projection.
    package let projection: String
    /// How the tables are to change.
    ///
    /// A truncate of tables that are not there yet becomes a swap.
    package let strategy: Strategy
    /// The number of the generation that would be built.
    package let generation: Int
    /// The schema it would be built in.
    package let homeSchema: String
    /// The generation that is live now; nil when there is none.
    package let liveGeneration: Int?
    /// Whether the live tables were made by somebody else and would be adopted.
    package let adoptsLive: Bool
    /// Where the live tables stand in the ledger; nil when nobody has said.
    package let livePosition: String?
    /// How the live rows came to be; nil when there are none.
    package let liveProvenance: Provenance?
    /// Where the live tables stand, and in which ledger; nil when there are none.
    package var live: LiveStanding? {
        liveGeneration.map {
            LiveStanding(
                CheckpointRecord(
                    generation: $0,
                    position: livePosition,
                    ledger: liveProvenance?.ledger
                )
            )
        }
    }
    /// The tables, in the order the projection declares them.
    package let tables: [Table]
    /// Bytes that generations take which are not live, by their numbers.
    package let heldBytes: [Int: Int64]
    /// Views that would be pointed at the new tables, outermost first, qualified and quoted.
    package let views: [String]
    /// What was looked at, a line each, in the order in which it is told.
    package let findings: [Finding]
    /// The SQL of the cut-over, as it would be sent; nil when there is none, or it is refused.
    ///
    /// OIDs and run number are those of the rehearsal.
    package let cutOverSQL: String?

    /// What does not stop the rebuild, and should be known.
    package var warnings: [String] { findings.filter { $0.level == .warn }.map(\.text) }
    /// What stops it, by name.
    package var refusals: [String] { findings.filter { $0.level == .refuse }.map(\.text) }
}

extension ReadModelDatabase {
    /// Looks at the database and says what a rebuild would do.
    ///
    /// Everything happens in one transaction that is rolled back: the shadow tables are really
    /// made, compared with the row types, and undone. No lock on a live table stops anybody.
    ///
    /// - Parameters:
    ///   - projection: The projection.
    ///   - strategy: The strategy asked for.
    ///   - consent: What a swap may do that others notice.
    ///   - patience: The limits of the cut-over, for its SQL.
    ///   - ledgerEnd: Where the ledger ends; nil when it is empty, or not looked at.
    /// - Returns: The plan, with what it refuses.
    /// - Throws: ``ReadModelError`` when the server cannot be asked. What the plan refuses is in
    ///   the plan.
    package func plan(
        _ projection: ProjectionTables,
        strategy: Strategy,
        consent: CarryOverConsent = CarryOverConsent(),
        patience: CutOverPatience = CutOverPatience(),
        ledgerEnd: Position? = nil
    ) async throws -> ReadModelPlan {
        try await withConnection(as: "plan", doing: "planning '\(projection.name)'") { connection in
            try await EventTriggerTrust.assert(on: connection)
            try await Bookkeeping.bringUpToDate(
                for: projection.name,
                publishing: publishesNewTables,
                forReader: false,
                on: connection
            )
            let planning = Planning(
                database: self,
                projection: projection,
                strategy: strategy,
                consent: consent,
                patience: patience,
                ledgerEnd: ledgerEnd
            )
            var tries = 3
            while true {
                do {
                    return try await planning.rehearse(on: connection)
                } catch let error as ServerError where error.isNameTaken && tries > 1 {
                    // A run has made the home of its generation meanwhile; the next number is another.
                    tries -= 1
                }
            }
        }
    }
}

/// The lines of a plan, and the text of its cut-over.
private struct Findings {
    var lines: [Finding] = []
    var views: [DependentView] = []
    var sql: String?
}

/// Gathers a ``ReadModelPlan`` inside a transaction that the caller rolls back.
private struct Planning {
    let database: ReadModelDatabase
    let projection: ProjectionTables
    let strategy: Strategy
    let consent: CarryOverConsent
    let patience: CutOverPatience
    let ledgerEnd: Position?

    /// Plans in a transaction that is rolled back.
    func rehearse(on connection: PostgresConnection) async throws -> ReadModelPlan {
        try await connection.execute("BEGIN")
        do {
            try await connection.execute("SET LOCAL lock_timeout = '2s'")
            let plan = try await plan(on: connection)
            try await connection.executeShielded("ROLLBACK")
            return plan
        } catch {
            // Where that fails the connection is closed next, and closing it rolls back as well.
            _ = try? await connection.executeShielded("ROLLBACK")
            throw error
        }
    }

    private func plan(on connection: PostgresConnection) async throws -> ReadModelPlan {
        let records =
            try await Bookkeeping.version(on: connection) == 0
            ? [] : try await Bookkeeping.generations(of: projection.name, on: connection)
        let held = try await GenerationDisk.bytes(of: records.filter(\.isNotLive), on: connection)
        var refusals = projection.complaints
        var live = LiveTables(generation: nil, tables: [], isAdopted: false)
        do {
            live = try await LiveTables.find(
                of: projection.name,
                declared: projection.tables.map(\.name),
                schema: database.liveSchema,
                records: records,
                on: connection
            )
        } catch ReadModelError.changedMeanwhile(_, let reason) {
            refusals.append(reason + ".")
        }
        let provenance = try await provenance(of: live, records, on: connection)
        let number = GenerationRecord.next(after: records, live: live)
        let home = try await HomeSchema.makeable(
            for: projection.name,
            generation: number,
            on: connection
        )
        let position = try await PositionRehearsal(
            database: database,
            projection: projection.name,
            generation: number,
            ledgerEnd: ledgerEnd
        ).findings(on: connection)
        let strategy = live.tables.isEmpty ? .swap : self.strategy
        refusals += try await obstacles(to: strategy, live, on: connection)
        var findings = Findings(lines: refusals.map { Finding(.refuse, nil, $0) })
        if refusals.isEmpty {
            // First: what a file of SQL fails at leaves the transaction without answers.
            let known = try await warnings(of: live, by: strategy, on: connection)
            findings = try await inspect(
                live,
                records: records,
                generation: (number, home),
                strategy: strategy,
                on: connection
            )
            findings.lines += known
            if strategy == .swap { findings.lines += homes(of: (number, home), live) }
        }
        findings.lines += position.lines + gone(from: live)
        if strategy != self.strategy { findings.lines.append(Self.movedIn) }
        return ReadModelPlan(
            projection: projection.name,
            strategy: strategy,
            generation: number,
            homeSchema: home,
            liveGeneration: live.generation?.number,
            adoptsLive: live.isAdopted,
            livePosition: position.checkpoint?.position,
            liveProvenance: provenance,
            tables: tables(live: live),
            heldBytes: held,
            views: findings.views.map(\.name.sql),
            findings: findings.lines,
            cutOverSQL: findings.sql
        )
    }

    /// Nil where nothing is live, and of bookkeeping of an older version, which a plan leaves as it is.
    private func provenance(
        of live: LiveTables,
        _ records: [GenerationRecord],
        on connection: PostgresConnection
    ) async throws -> Provenance? {
        guard let number = live.generation?.number,
            records.contains(where: { $0.number == number }),
            try await Bookkeeping.version(on: connection) >= 7
        else { return nil }
        return try await Bookkeeping.provenance(
            of: number,
            of: projection.name,
            on: connection
        )
    }

    private static let movedIn = Finding(
        .warn,
        nil,
        "There are no live tables yet, so the first generation is moved in."
    )

    /// Tables that were live and are not there any more.
    private func gone(from live: LiveTables) -> [Finding] {
        guard let generation = live.generation, !live.isAdopted else { return [] }
        let names = Set(live.tables.map(\.name.name))
        return generation.tables.filter { table in
            !table.isMaterializedView && !names.contains(table.name)
                && projection.tables.contains { $0.name == table.name }
        }.map { table in
            Finding(
                .warn,
                QualifiedName(schema: database.liveSchema, name: table.name).sql,
                "generation \(generation.number) put it there and somebody has dropped it. The swap "
                    + "makes it again as schema.sql says; what others had put onto it is lost"
            )
        }
    }

    /// What the live tables alone tell.
    private func warnings(
        of live: LiveTables,
        by strategy: Strategy,
        on connection: PostgresConnection
    ) async throws -> [Finding] {
        let makesTables = try await Bookkeeping.isBehind(on: connection)
        let names = Set(live.tables.map(\.name.name))
        return try await Gates.findings(of: live.oids, on: connection)
            + OthersCode.borrowed(by: live.oids, on: connection)
            + StoredExpressions(tables: live.oids).findings(on: connection)
            + (strategy == .swap || makesTables
                ? NewTablePublications.findings(
                    consents: database.publishesNewTables,
                    on: connection
                ) : [])
            + NewTablePublications.findings(
                ofNew: projection.tables.map(\.name).filter { !names.contains($0) },
                in: database.liveSchema,
                consents: database.publishesNewTables,
                on: connection
            )
    }

    /// Which tables get a home of another name than people look for.
    private func homes(
        of next: (number: Int, home: String),
        _ live: LiveTables
    ) -> [Finding] {
        let leaving = live.generation.map { ($0.number, $0.homeSchema) }
        return [leaving, next].compactMap(\.self).compactMap { number, home in
            HomeSchema.note(home, for: projection.name, generation: number)
                .map { Finding(.warn, nil, $0) }
        }
    }

    /// What stops every rebuild of this strategy, whatever the tables look like.
    private func obstacles(
        to strategy: Strategy,
        _ live: LiveTables,
        on connection: PostgresConnection
    ) async throws -> [String] {
        var refusals: [String] = []
        if try await !connection.hasSchema(database.liveSchema) {
            refusals.append("The live schema '\(database.liveSchema)' does not exist.")
        }
        let rights = [
            (
                "CREATE",
                "The role may not create schemas in this database, and each generation has one"
            ),
            (
                "TEMPORARY",
                "The role may not create temporary tables, through which a catch-up goes"
            ),
        ]
        let isMade = try await Bookkeeping.version(on: connection) > 0
        for (right, refusal) in rights where strategy == .swap || right != "CREATE" || !isMade {
            guard try await !connection.hasDatabaseRight(right) else { continue }
            refusals.append(
                "\(refusal): GRANT \(right) ON DATABASE, as the script of grants in "
                    + "docs/operating.md does."
            )
        }
        if refusals.isEmpty { refusals += try await obstacleToStaging(on: connection) }
        if live.isAdopted, !consent.adoptsStrangers {
            refusals += try await live.strangers(on: connection)
        }
        return refusals
    }

    private func tables(live: LiveTables) -> [ReadModelPlan.Table] {
        projection.tables.map { declared in
            let real = live.tables.first { $0.name.name == declared.name }
            let name = QualifiedName(schema: database.liveSchema, name: declared.name)
            return ReadModelPlan.Table(
                name: name.sql,
                liveRows: real.map { max(0, Int($0.estimatedRows)) },
                liveBytes: real?.totalBytes,
                columns: declared.columnNames.count
            )
        }
    }

    /// An event trigger may refuse temporary tables, through which a catch-up and `follow` go.
    private func obstacleToStaging(on connection: PostgresConnection) async throws -> [String] {
        let triggers = try await EventTriggers.names(on: connection)
        guard !triggers.isEmpty else { return [] }
        try await connection.execute("SAVEPOINT reprise_staging")
        var refusals: [String] = []
        do {
            try await connection.execute(
                "CREATE TEMPORARY TABLE reprise_staging (id pg_catalog.int4) ON COMMIT DROP"
            )
        } catch let error as ServerError where !error.isLockFailure {
            refusals.append(
                "A temporary table cannot be made, as a catch-up needs it: "
                    + "\(TextForPeople.oneLine(error)). Let the event triggers pass over pg_temp: "
                    + "\(triggers.joined(separator: ", "))."
            )
        }
        try await connection.execute("ROLLBACK TO SAVEPOINT reprise_staging")
        return refusals
    }

    private func inspect(
        _ live: LiveTables,
        records: [GenerationRecord],
        generation: (number: Int, home: String),
        strategy: Strategy,
        on connection: PostgresConnection
    ) async throws -> Findings {
        do {
            try await database.runSetup(of: projection, on: connection)
            switch strategy {
            case .truncate: return try await inspectTruncate(live, on: connection)
            case .swap:
                return try await inspectSwap(
                    live,
                    records: records,
                    generation: generation,
                    on: connection
                )
            }
        } catch ReadModelError.refusedByPlan(_, let reasons) {
            return Findings(lines: reasons.map { Finding(.refuse, nil, $0) })
        } catch let error as ServerError where error.sqlState == SQLFile.newEnumValue {
            return Findings(lines: [
                Finding(
                    .warn,
                    "setup.sql",
                    "it adds a value to a type that is used at once, and the server allows that in "
                        + "the next transaction only. A rebuild runs setup.sql first, and then plans "
                        + "what is not looked at here"
                )
            ])
        }
    }

    private func inspectTruncate(
        _ live: LiveTables,
        on connection: PostgresConnection
    ) async throws -> Findings {
        let reload = TruncateReload(database: database, projection: projection)
        let bindings = try await reload.bind(live, on: connection)
        return Findings(
            lines: try await Hazard.ofTruncate(live.oids, on: connection)
                + (projection.checks == nil
                    ? []
                    : SearchPaths.obstacleToChecks(in: database.liveSchema, on: connection))
                + MaterializedView.afterTruncate(of: live.oids, on: connection).map {
                    $0.followUp == nil ? Finding(.warn, $0.subject, $0.note) : $0.finding
                }
                + bindings.warnings.map { Finding(.warn, nil, $0) }
                + keeping(bindings.bindings, of: live.tables, on: connection)
                + ColumnKeeping.triggers(on: live.oids, connection)
        )
    }

    private func inspectSwap(
        _ live: LiveTables,
        records: [GenerationRecord],
        generation: (number: Int, home: String),
        on connection: PostgresConnection
    ) async throws -> Findings {
        let created = try await ShadowSchema(
            projection: projection,
            homeSchema: generation.home,
            liveSchema: database.liveSchema,
            live: live
        ).create(on: connection, isForLoading: false)
        let rehearsal = SwapRehearsal(
            projection: projection.name,
            live: live,
            liveSchema: database.liveSchema,
            homeSchema: created.homeSchema,
            generation: generation.number,
            shadows: created.tables,
            consent: consent,
            budget: patience.outageBudget,
            schema: projection.schema
        )
        let (lines, paths) = try await rehearsal.run(on: connection)
        var findings = Findings(lines: lines)
        findings.views = try await DependentView.over(live.oids, on: connection)
        if let checks = projection.checks {
            findings.lines += try await rehearse(checks, on: created, on: connection)
        }
        findings.lines += created.findings
        findings.lines += try await keeping(
            created.bindings,
            of: created.tables,
            on: connection
        )
        findings.lines += try await ColumnKeeping.triggers(on: live.oids, connection)
        findings.lines += try await RowVariables.findings(of: live.oids, on: connection)
        if !findings.lines.contains(where: { $0.level == .refuse }) {
            findings.sql = try await CutOverText(
                database: database,
                projection: projection,
                live: live,
                records: records,
                patience: patience
            ).text(of: generation.number, created, paths: paths, on: connection)
        }
        return findings
    }

    /// What the columns do to values and keys.
    private func keeping(
        _ bindings: [TableBinding],
        of tables: [TableDescription],
        on connection: PostgresConnection
    ) async throws -> [Finding] {
        var findings: [Finding] = []
        for declared in projection.tables {
            guard let table = tables.first(where: { $0.name.name == declared.name }),
                let binding = bindings.first(where: { $0.name == declared.name })
            else { continue }
            findings += try await ColumnKeeping(table: table.oid, binding: binding)
                .findings(of: declared.name, key: declared.key, on: connection)
        }
        return try await findings
            + ExchangeGuards.findings(of: tables.map(\.oid), on: connection)
    }

    /// Tries `checks.sql` on the tables, which are empty.
    private func rehearse(
        _ checks: String,
        on created: ShadowSchema.Created,
        on connection: PostgresConnection
    ) async throws -> [Finding] {
        let path = try await SearchPaths.ofChecks(
            in: created.homeSchema,
            database.liveSchema,
            on: connection
        )
        let complaints = try await SQLChecks(text: checks).rehearse(
            on: created.tables.map(\.oid),
            searchPath: path,
            on: connection
        )
        guard !path.contains(database.liveSchema) else {
            return complaints.map { Finding(.refuse, nil, $0) }
        }
        let makers = try await SearchPaths.makers(
            in: database.liveSchema,
            besides: [],
            on: connection
        )
        let note = Finding(
            .warn,
            "checks.sql",
            "\(makers.joined(separator: ", ")) may make functions and operators in the schema "
                + "'\(database.liveSchema)', so names are looked up among the new tables and in "
                + "pg_catalog only. Qualify what else it names."
        )
        return [note] + complaints.map { Finding(.refuse, nil, $0) }
    }
}

extension PostgresConnection {
    fileprivate func hasDatabaseRight(_ right: String) async throws -> Bool {
        let row = try await query(
            "SELECT pg_catalog.has_database_privilege(pg_catalog.current_database(), $1) AS may",
            [.text(right)]
        ).first
        return try row?.bool("may") ?? false
    }

    func hasSchema(_ name: String) async throws -> Bool {
        let found = try await query(
            "SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1",
            [.text(name)]
        )
        return !found.rows.isEmpty
    }
}
