import Ledgers
import Postgres
import ProjectionKit
import ReadModels
import Rebuilder
import TestSupport
import Testing

/// Where the new tables of a case come from.
enum Shape: String, CaseIterable, CustomTestStringConvertible {
    /// From the live tables.
    case cloned
    /// From a `schema.sql`.
    case declared

    var testDescription: String { rawValue }
}

/// Which rows readers see; the raw value is what they hold.
enum Epoch: String {
    case old
    case new
}

/// A live schema `s` with a table `live` that holds `(1, 'old')`, something on or around it that a
/// swap could lose, and events that make `(1, 'new')`.
struct HazardScene: Sendable {
    let scene: RebuildScene
    let projection: any Projection.Type
    let consent: CarryOverConsent
    /// The real name of each role that the case speaks of.
    let roles: [String: String]

    var database: ScratchDatabase { scene.database }

    /// The database as one of the case's roles sees it.
    func database(as role: String) throws -> ScratchDatabase {
        database.asRole(try #require(roles[role]))
    }

    /// Runs statements in which `%app%` stands for the role `app`.
    func execute(_ sql: String) async throws {
        try await database.execute(withRoles(sql))
    }

    /// The first column of the first row; nil when that is NULL or there is no row.
    func value(_ sql: String) async throws -> String? {
        try await database.query(withRoles(sql)).first?[0]
    }

    /// The whole number in the first column of the first row.
    func number(_ sql: String) async throws -> Int {
        let value = try await value(sql)
        return try #require(value.flatMap { Int($0) })
    }

    /// Expects what the first column of a query's rows holds; no row when nothing is wanted.
    func expect(
        _ sql: String,
        as role: String? = nil,
        gives wanted: String?...,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let database = try role.map { try self.database(as: $0) } ?? database
        let found = try await database.query(withRoles(sql)).rows.map { $0[0] }
        #expect(found == wanted, sourceLocation: sourceLocation)
    }

    /// Waits until a query has a row.
    func wait(
        until sql: String,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        try await database.withConnection { connection in
            let begin = ContinuousClock.now
            while try await connection.query(sql).first == nil {
                try #require(
                    ContinuousClock.now - begin < .seconds(60),
                    "waited for \(sql)",
                    sourceLocation: sourceLocation
                )
                await Task.yield()
            }
        }
    }

    func withRoles(_ sql: String) -> String {
        roles.reduce(sql) {
            $0.replacing("%\($1.key)%", with: SQLText.identifier($1.value))
        }
    }

    func plan(_ strategy: Strategy = .swap) async throws -> ReadModelPlan {
        try await scene.target.plan(
            ProjectionTables(projection),
            strategy: strategy,
            consent: consent
        )
    }

    /// Builds a generation and swaps it in.
    @discardableResult
    func rebuild(_ strategy: Strategy = .swap) async throws -> RebuildReport {
        var options = RebuildOptions()
        options.strategy = strategy
        options.consent = consent
        return try await scene.rebuild(projection, options: options)
    }

    /// Builds a generation and leaves it ready.
    @discardableResult
    func build() async throws -> RebuildReport {
        var options = RebuildOptions()
        options.swaps = false
        options.consent = consent
        return try await scene.rebuild(projection, options: options)
    }

    @discardableResult
    func rollback(patience: CutOverPatience = CutOverPatience()) async throws -> CutOverResult {
        try await scene.control(projection).rollback(patience: patience, consent: consent)
    }

    @discardableResult
    func swap(patience: CutOverPatience = CutOverPatience()) async throws -> CutOverResult {
        try await scene.control(projection).swap(patience: patience, consent: consent)
    }

    /// Everything that a swap may not change, line by line: what `pg_dump` says, the OIDs of views and
    /// functions, by which sessions and other databases' tools know them, and which triggers of
    /// constraints are switched off, which `pg_dump` leaves out.
    func definitions() async throws -> [String] {
        try await SchemaDump.ofEverything(in: database) + StoredMeaning.lines(in: database)
            + database.query(
                """
                SELECT 'view ' || c.oid::pg_catalog.regclass || ' ' || c.oid AS line
                FROM pg_catalog.pg_class AS c
                JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
                WHERE c.relkind = 'v' AND n.nspname !~ '^(pg_|information_schema$|reprise$)'
                UNION ALL
                SELECT 'function ' || p.oid::pg_catalog.regprocedure || ' ' || p.oid
                FROM pg_catalog.pg_proc AS p
                JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
                WHERE n.nspname !~ '^(pg_|information_schema$|reprise$)'
                UNION ALL
                SELECT 'trigger ' || t.tgfoid::pg_catalog.regproc || ' of ' || o.conname || ' on '
                    || t.tgrelid::pg_catalog.regclass || ' is ' || t.tgenabled::text
                FROM pg_catalog.pg_trigger AS t
                JOIN pg_catalog.pg_constraint AS o ON o.oid = t.tgconstraint
                JOIN pg_catalog.pg_namespace AS n ON n.oid = o.connamespace
                WHERE t.tgisinternal AND t.tgenabled <> 'O'
                    AND n.nspname !~ '^(pg_|information_schema$|reprise$)|__g[0-9]+'
                ORDER BY 1
                """
            ).rows.map { try $0.string("line") }
    }
}

extension HazardScene {
    /// The lines of ``definitions()`` that went (`-`), came (`+`) or stand elsewhere (both).
    func changes(since before: [String]) async throws -> [String] {
        try await definitions().difference(from: before).map { change in
            switch change {
            case .remove(_, let line, _): "- " + line
            case .insert(_, let line, _): "+ " + line
            }
        }
    }
}

// MARK: What must hold

extension HazardScene {
    /// Expects that nothing but the rows changes: through a swap, a rollback, a swap back, a prune
    /// that drops everything old, and one more rebuild where a `schema.sql` is compared with what
    /// the first one has recorded.
    ///
    /// - Parameters:
    ///   - sourceLocation: Where the test is.
    ///   - check: Looks at the rows, which are to be of the epoch it is given.
    /// - Throws: What stops a step, or `check`.
    func passes(
        sourceLocation: SourceLocation = #_sourceLocation,
        _ check: (Epoch) async throws -> Void = { _ in }
    ) async throws {
        let before = try await definitions()
        func expectSame(after step: String, _ epoch: Epoch) async throws {
            let changes = try await changes(since: before)
            #expect(changes == [], "after the \(step)", sourceLocation: sourceLocation)
            try await check(epoch)
        }
        let plan = try await plan()
        try #require(plan.refusals == [], sourceLocation: sourceLocation)
        try await check(.old)
        try await rebuild()
        try await expectSame(after: "rebuild", .new)
        try await rollback()
        try await expectSame(after: "rollback", .old)
        try await swap()
        try await expectSame(after: "swap back", .new)
        let pruned = try await scene.control(projection).prune(keep: 0)
        #expect(pruned.postponed == [:], sourceLocation: sourceLocation)
        #expect(pruned.dropped == [0], sourceLocation: sourceLocation)
        try await check(.new)
        guard GivenSQL.schema != nil else { return }
        try await rebuild()
        try await expectSame(after: "second rebuild", .new)
    }

    /// Expects that plan and rebuild refuse by name, and change nothing.
    ///
    /// - Parameters:
    ///   - names: What the refusals name.
    ///   - truncates: Whether `--strategy truncate` is named as the way out, and is one.
    ///   - sourceLocation: Where the test is.
    /// - Throws: What stops a step other than the refused one.
    ///   - sourceLocation: Where it is expected.
    /// - Throws: What the server says.
    func isRefused(
        naming names: String...,
        truncates: Bool = false,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let before = try await definitions()
        let refusals = try await plan().refusals
        for name in names {
            #expect(
                refusals.contains { $0.contains(name) },
                "\(refusals) do not name \(name)",
                sourceLocation: sourceLocation
            )
        }
        let error = await #expect(throws: ReadModelError.self, sourceLocation: sourceLocation) {
            try await rebuild()
        }
        if case .refusedByPlan = error {
        } else {
            Issue.record("not refused, but \(error as Any)", sourceLocation: sourceLocation)
        }
        var changes = try await changes(since: before)
        #expect(changes == [], "after the refusal", sourceLocation: sourceLocation)
        guard truncates else { return }
        #expect(
            refusals.contains { $0.contains("--strategy truncate") },
            "\(refusals) name no way out",
            sourceLocation: sourceLocation
        )
        try await rebuild(.truncate)
        changes = try await self.changes(since: before)
        #expect(changes == [], "after the reload", sourceLocation: sourceLocation)
    }
}

/// Runs `body` with a live table in the schema `s`, a ledger and what the case puts around them.
///
/// - Parameters:
///   - shape: Where the new tables come from.
///   - liveSchema: The schema of the live tables.
///   - projection: What is rebuilt.
///   - table: The live tables; the text of `schema.sql` as well, unless `file` is given.
///   - file: The text of `schema.sql` when the new tables are to be different.
///   - rows: The old rows.
///   - setUp: What is put on and around the tables.
///   - roles: Roles without a login, under the names that SQL writes as `%name%`.
///   - consent: What the swap may do that others notice.
///   - events: What the ledger holds.
///   - body: The case.
/// - Throws: What `body` throws.
/// - Throws: What `body` throws.
func withHazard(
    _ shape: Shape = .cloned,
    in liveSchema: String = "s",
    of projection: any Projection.Type = Live.self,
    table: String = "CREATE TABLE live (id int PRIMARY KEY, v text)",
    file: String? = nil,
    rows: String = "INSERT INTO s.live (id, v) VALUES (1, 'old')",
    setUp: String = "",
    roles: [String] = [],
    consent: CarryOverConsent = CarryOverConsent(adoptsStrangers: true),
    events: [NewEvent] = [Live.event(1, "new")],
    _ body: (HazardScene) async throws -> Void
) async throws {
    try await withRebuildScene { plain in
        var scene = plain
        scene.liveSchema = liveSchema
        try scene.append(events)
        let pairs = roles.map { ($0, "\(scene.database.name)_\($0)") }
        let hazard = HazardScene(
            scene: scene,
            projection: projection,
            consent: consent,
            roles: Dictionary(uniqueKeysWithValues: pairs)
        )
        try await hazard.withRealRoles {
            let schema = SQLText.identifier(liveSchema)
            try await hazard.execute(
                "CREATE SCHEMA \(schema); SET search_path = \(schema); \(table)"
            )
            try await hazard.execute(rows)
            try await hazard.execute(setUp)
            try await GivenSQL.$schema.withValue(shape == .declared ? file ?? table : nil) {
                try await body(hazard)
            }
        }
    }
}

extension HazardScene {
    /// Makes the roles for the time of `body`: they belong to the whole cluster.
    fileprivate func withRealRoles(_ body: () async throws -> Void) async throws {
        let names = roles.values.map { SQLText.identifier($0) }
        try await database.execute(names.map { "CREATE ROLE \($0);" }.joined())
        let drop =
            names.map { "DROP OWNED BY \($0) CASCADE;" }.joined()
            + names.map { "DROP ROLE \($0);" }.joined()
        do {
            try await body()
        } catch {
            // The first error is the one worth reading.
            _ = try? await database.execute(drop)
            throw error
        }
        try await database.execute(drop)
    }
}
