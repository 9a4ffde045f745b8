import Postgres

/// Tries what a cut-over makes again, on the tables that come, and finds out under which search path
/// each text means what it means on the live ones.
///
/// The texts name everything with its schema and are run under the cut-over's own settings, with
/// other tables' names in them: no lock on a live table is needed. Each is undone.
struct CarryRehearsal: Sendable {
    /// A live relation, and the one at home that takes its place.
    struct Pair: Sendable {
        let live: UInt32
        let name: QualifiedName
        let home: UInt32
    }

    let live: LiveTables
    let homeSchema: String
    private(set) var pairs: [Pair] = []

    /// What came of all objects.
    struct Carried: Sendable {
        var findings: [Finding] = []
        /// Search paths of those objects that need one, by their subjects.
        var paths: [String: String] = [:]
        /// Objects that the batch of a cut-over makes again.
        var objects = 0
        /// Milliseconds that making them took.
        var milliseconds = 0.0

        var refusals: [Finding] { findings.filter { $0.level == .refuse } }
    }

    /// What takes the places of the live tables; `tables` are the OIDs of those at home, by their names.
    init(live: LiveTables, homeSchema: String, tables: [String: UInt32]) {
        self.live = live
        self.homeSchema = homeSchema
        for table in live.tables {
            guard let home = tables[table.name.name] else { continue }
            add(Pair(live: table.oid, name: table.name, home: home))
        }
    }

    /// Another relation takes the place of a live one.
    mutating func add(_ pair: Pair) { pairs.append(pair) }

    /// What came of one.
    enum Outcome {
        /// It means the same under this search path; nil where the usual one will do.
        case same(path: String?)
        /// It would mean something else, as a clause.
        case different(String)
        /// It cannot be made.
        case failed(ServerError)
    }

    /// What came of one, and the milliseconds that making it took.
    struct Tried {
        let outcome: Outcome
        let milliseconds: Double
    }

    /// A stand-in for a relation of others, which must not be locked.
    private struct StandIn {
        let host: UInt32
        let source: QualifiedName
        let name: QualifiedName
        let creation: String
    }

    /// Tries everything that stands on the live tables or looks into them.
    ///
    /// What stands on the tables that come is taken off for the time of it.
    ///
    /// - Returns: A line for each object.
    func carried(
        consent: CarryOverConsent,
        on connection: PostgresConnection
    ) async throws -> Carried {
        var carried = Carried()
        let tables = Set(live.oids)
        let kept = pairs.filter { tables.contains($0.live) }
        let seen = Array(tables.union(pairs.map(\.live)))
        try await connection.execute("SAVEPOINT carried")
        try await TableAttachments.remove(from: kept.map(\.home), on: connection)
        for object in try await TableAttachments.capture(on: kept.map(\.live), on: connection) {
            carried.add(object, try await outcome(of: object, on: connection))
        }
        // The innermost come first, so that the lines stand in the order of the statements.
        for view in try await DependentView.over(seen, on: connection).reversed() {
            let tried = try await outcome(of: view, on: connection)
            carried.add(view.carried, tried)
            if case .same(let path) = tried.outcome {
                carried.findings += try await misfits(of: view, under: path, on: connection)
            }
        }
        for object in try await OutsideDependants.capture(on: live.oids, on: connection) {
            carried.add(object, try await outcome(of: object, on: connection))
        }
        if consent.republishes {
            for object in try await Publications.capture(of: kept.map(\.live), on: connection) {
                carried.add(object, try await outcome(of: object, on: connection), level: .warn)
            }
        }
        try await connection.execute("ROLLBACK TO carried")
        return carried
    }

    /// Why a view that can be made over the new tables cannot take the place of the one that is there.
    private func misfits(
        of view: DependentView,
        under path: String?,
        on connection: PostgresConnection
    ) async throws -> [Finding] {
        let (twin, subject) = (twin(of: view), view.carried.subject)
        var findings: [Finding] = []
        try await connection.execute("SAVEPOINT view")
        try await connection.setSearchPath(list: path ?? "")
        try await connection.execute(creation(of: view))
        try await connection.setSearchPath([])
        if try await !connection.isReplaceable(view.oid, by: twin) {
            findings.append(
                Finding(
                    .refuse,
                    subject,
                    "its columns would change name or type, which CREATE OR REPLACE VIEW cannot do"
                )
            )
        }
        for table in try await connection.tables(live.oids, below: twin) {
            findings.append(
                Finding(
                    .refuse,
                    subject,
                    "it reads \(table), which the new generation does not have"
                )
            )
        }
        try await connection.execute("ROLLBACK TO view")
        return findings
    }

    private func twin(of view: DependentView) -> QualifiedName {
        QualifiedName(schema: homeSchema, name: "reprise view \(view.oid)")
    }

    private func creation(of view: DependentView) -> String {
        "CREATE VIEW \(twin(of: view).sql) AS \(text(view.query))"
    }

    /// A text of the live relations for those at home.
    func text(_ sql: String) -> String { RenamedText(names: names).text(sql) }

    /// A text of those at home, its names quoted as those of ``text(_:)`` are.
    func homeText(_ sql: String) -> String {
        let homes = Set(names.values).map { ($0, $0) }
        return RenamedText(names: Dictionary(uniqueKeysWithValues: homes)).text(sql)
    }

    private var names: [QualifiedName: QualifiedName] {
        Dictionary(
            uniqueKeysWithValues: pairs.map {
                ($0.name, QualifiedName(schema: homeSchema, name: $0.name.name))
            }
        )
    }

    /// Tries an object under the paths that it may have been made with.
    func outcome(
        of object: CarriedObject,
        on connection: PostgresConnection
    ) async throws -> Tried {
        let standIn = try await standIn(for: object, on: connection)
        return try await outcome(of: object.trees, on: connection) { names in
            if let standIn { names[standIn.source] = standIn.name }
            let text = RenamedText(names: names)
            let statements = object.restore.map {
                standIn == nil ? text.text($0) : text.text(Self.creation(of: $0))
            }
            return (
                (standIn.map { [$0.creation] } ?? []) + statements,
                standIn.map { ($0.host, $0.name) }
            )
        }
    }

    /// Tries a view as a twin of it.
    private func outcome(
        of view: DependentView,
        on connection: PostgresConnection
    ) async throws -> Tried {
        try await outcome(of: view.carried.trees, on: connection) { _ in
            ([creation(of: view)], (view.oid, twin(of: view)))
        }
    }

    /// Tries a materialized view, by a statement that makes its twin.
    func outcome(
        of view: MaterializedView,
        by statement: String,
        on connection: PostgresConnection
    ) async throws -> Tried {
        let tree = StoredTree(kind: .rule, host: view.oid, name: "_RETURN")
        return try await outcome(of: [tree], on: connection) { _ in
            ([statement], (view.oid, QualifiedName(schema: homeSchema, name: view.name.name)))
        }
    }

    /// Tries statements under one path after the other.
    ///
    /// `script` gives what to run, and a relation that something of it stands in for. The first path
    /// under which the trees mean the same is what comes of it, or else what became of the usual one.
    private func outcome(
        of trees: [StoredTree],
        on connection: PostgresConnection,
        _ script: (inout [QualifiedName: QualifiedName]) -> (
            statements: [String], standIn: (host: UInt32, name: QualifiedName)?
        )
    ) async throws -> Tried {
        var names = names
        let (statements, standIn) = script(&names)
        let wanted = try await StoredTree.meanings(of: trees, on: connection)
        let trial = Trial(
            pairs: pairs.map { ($0.live, $0.home) },
            trees: trees,
            wanted: wanted,
            statements: statements,
            standIn: standIn
        )
        let usual = try await trial.run(under: "", on: connection)
        if case .same = usual.outcome { return usual }
        for path in try await SearchPaths.candidates(for: trees, on: connection) {
            let found = try await trial.run(under: path, on: connection)
            guard case .same = found.outcome else { continue }
            return Tried(outcome: .same(path: path), milliseconds: found.milliseconds)
        }
        return usual
    }

    private func standIn(
        for object: CarriedObject,
        on connection: PostgresConnection
    ) async throws -> StandIn? {
        guard let host = object.host else { return nil }
        let row = try await connection.query(
            """
            SELECT c.oid, n.nspname, c.relname, c.relkind = 'v' AS is_view
            FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
            WHERE c.oid = $1::pg_catalog.regclass
            """,
            [.text(host)]
        ).first
        guard let row else { return nil }
        let source = QualifiedName(
            schema: try row.string("nspname"),
            name: try row.string("relname")
        )
        let oid = UInt32(try row.int("oid"))
        // A policy can name its table without the schema, so that the stand-in has the same name.
        let isTaken = pairs.contains { $0.name.name == source.name }
        let name = QualifiedName(
            schema: homeSchema,
            name: isTaken ? "reprise host \(oid)" : source.name
        )
        return StandIn(
            host: oid,
            source: source,
            name: name,
            creation: try row.bool("is_view")
                ? "CREATE VIEW \(name.sql) AS SELECT * FROM \(source.sql)"
                : "CREATE TABLE \(name.sql) (LIKE \(source.sql))"
        )
    }

    /// A statement that alters a policy as one that makes it.
    private static func creation(of statement: String) -> String {
        let alteration = "ALTER POLICY"
        guard statement.hasPrefix(alteration) else { return statement }
        return "CREATE POLICY" + statement.dropFirst(alteration.count)
    }
}

extension CarryRehearsal.Carried {
    fileprivate mutating func add(
        _ object: CarriedObject,
        _ tried: CarryRehearsal.Tried,
        level: Finding.Level = .ok
    ) {
        findings.append(tried.outcome.finding(of: object, level: level))
        objects += 1
        milliseconds += tried.milliseconds
        if case .same(let path?) = tried.outcome { paths[object.subject] = path }
    }
}

extension CarryRehearsal.Outcome {
    /// The line of a plan.
    func finding(of object: CarriedObject, level: Finding.Level = .ok) -> Finding {
        switch self {
        case .same(nil): Finding(level, object.subject, object.note)
        case .same(let path?):
            Finding(level, object.subject, "\(object.note); read under the search path \(path)")
        case .different(let difference):
            Finding(
                .refuse,
                object.subject,
                "on the new tables it would mean something else: \(difference). Write it with what it "
                    + "means by name, such as OPERATOR(schema.=); '--strategy truncate' leaves it as it is"
            )
        case .failed(let error):
            Finding(
                .refuse,
                object.subject,
                "it cannot be carried over to the new tables: \(error.message). Drop it or change it "
                    + "on the live table, or give the new tables what it needs"
            )
        }
    }
}

/// Statements that make objects, and what these have to mean.
private struct Trial {
    let pairs: [(UInt32, UInt32)]
    let trees: [StoredTree]
    let wanted: [StoredTree: Meaning]
    let statements: [String]
    let standIn: (host: UInt32, name: QualifiedName)?

    func run(
        under path: String,
        on connection: PostgresConnection
    ) async throws -> CarryRehearsal.Tried {
        try await connection.execute("SAVEPOINT carrying")
        var outcome: CarryRehearsal.Outcome
        var took = 0.0
        do {
            try await connection.setSearchPath(list: path)
            let began = ContinuousClock.now
            for statement in statements { try await connection.execute(statement) }
            took = (ContinuousClock.now - began).milliseconds
            try await connection.setSearchPath([])
            outcome = try await compared(on: connection)
        } catch let error as ServerError where !error.isLockFailure {
            outcome = .failed(error)
        }
        try await connection.execute("ROLLBACK TO carrying")
        return CarryRehearsal.Tried(outcome: outcome, milliseconds: took)
    }

    private func compared(on connection: PostgresConnection) async throws -> CarryRehearsal.Outcome
    {
        var pairs = pairs
        if let standIn {
            let twin = try await connection.query(
                "SELECT $1::pg_catalog.regclass::pg_catalog.oid AS oid",
                [.text(standIn.name.sql)]
            ).first
            if let twin { pairs.append((standIn.host, UInt32(try twin.int("oid")))) }
        }
        let hosts = Dictionary(pairs) { first, _ in first }
        let successors = try await Successors(pairs, on: connection)
        let made = trees.map { $0.moved(to: hosts[$0.host] ?? $0.host) }
        let found = try await StoredTree.meanings(of: made, on: connection)
        for (tree, twin) in zip(trees, made) {
            guard let wanted = wanted[tree]?.mapped(by: successors) else { continue }
            guard let found = found[twin] else { return .different("nothing is there") }
            if let difference = wanted.difference(from: found) {
                return .different(
                    try await difference.here.described(on: connection) + " would become "
                        + difference.there.described(on: connection)
                )
            }
        }
        return .same(path: nil)
    }
}

extension Substring {
    /// A field of a stored tree, for people: the object that it names.
    func described(on connection: PostgresConnection) async throws -> String {
        let catalogues = [
            "opno": "pg_operator", "eqop": "pg_operator", "sortop": "pg_operator",
            "funcid": "pg_proc", "opfuncid": "pg_proc", "aggfnoid": "pg_proc",
            "winfnoid": "pg_proc", "consttype": "pg_type", "resulttype": "pg_type",
            "inputcollid": "pg_collation", "opcollid": "pg_collation",
            "funccollid": "pg_collation", "constcollid": "pg_collation",
        ]
        let words = split(separator: " ")
        guard words.count == 2, let catalogue = catalogues[String(words[0])],
            let oid = Int64(words[1])
        else { return "'\(prefix(80))'" }
        let row = try await connection.query(
            """
            SELECT pg_catalog.pg_describe_object($1::pg_catalog.regclass, $2::pg_catalog.oid, 0)
                AS name
            """,
            [.text("pg_catalog.\(catalogue)"), .int(oid)]
        ).first
        return row?["name"] ?? "'\(self)'"
    }
}

extension PostgresConnection {
    /// Whether every column of `view` is there in `twin`, at the same place, with the same name,
    /// type and collation.
    fileprivate func isReplaceable(_ view: UInt32, by twin: QualifiedName) async throws -> Bool {
        let differing = try await query(
            """
            SELECT FROM pg_catalog.pg_attribute AS a
            LEFT JOIN pg_catalog.pg_attribute AS b
                ON b.attrelid = $2::pg_catalog.regclass AND b.attnum = a.attnum
            WHERE a.attrelid = $1::pg_catalog.oid AND a.attnum > 0
                AND (a.attname, a.atttypid, a.atttypmod, a.attcollation)
                    IS DISTINCT FROM (b.attname, b.atttypid, b.atttypmod, b.attcollation)
            """,
            [.int(Int64(view)), .text(twin.sql)]
        )
        return differing.rows.isEmpty
    }

    /// Those of the tables that a view reads directly.
    fileprivate func tables(
        _ tables: [UInt32],
        below view: QualifiedName
    ) async throws -> [String] {
        try await query(
            """
            SELECT DISTINCT d.refobjid::pg_catalog.regclass AS name
            FROM pg_catalog.pg_depend AS d
            JOIN pg_catalog.pg_rewrite AS r ON r.oid = d.objid
            WHERE r.ev_class = $1::pg_catalog.regclass
                AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
                AND d.refobjid = ANY ($2::pg_catalog.oid[]) ORDER BY 1
            """,
            [.text(view.sql), .ints(tables.map { Int64($0) })]
        ).rows.map { try $0.string("name") }
    }
}
