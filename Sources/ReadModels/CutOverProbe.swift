import Postgres
import Wording

/// The kinds of statements that a cut-over types, tried on relations that nobody uses, while event
/// triggers fire: what these change in silence, or refuse, is found before anything is folded.
///
/// Each table that comes has a probe in the home schema, under its own name, that is moved into the live
/// schema and back. Where a live table of the name is in the way, the probe moves under a longer name:
/// an event trigger that looks for exactly the name of a live table is not found so. The batch of the
/// cut-over looks itself at what is live when it is done, and is undone then.
struct CutOverProbe: Sendable {
    let homeSchema: String
    let liveSchema: String
    let live: LiveTables
    /// The names of the tables that come.
    let tables: [String]
    /// What those of them get that are not live yet.
    let given: NewTables.Given

    /// Tries them.
    ///
    /// - Parameter connection: Inside a transaction in which the tables that come are in their home; no
    ///   lock on a live table is taken. Its search path is changed.
    /// - Returns: A sentence for each relation that would change, or would not be moved.
    /// - Throws: Lock failures, and what is no error of the server.
    func reasons(on connection: PostgresConnection) async throws -> [String] {
        let triggers = try await EventTriggers.names(on: connection)
        guard !triggers.isEmpty else { return [] }
        try await connection.setSearchPath([])
        try await connection.execute("SAVEPOINT reprise_cut_over")
        let found = try await tried(triggers, on: connection)
        try await connection.execute(
            "ROLLBACK TO SAVEPOINT reprise_cut_over; RELEASE SAVEPOINT reprise_cut_over"
        )
        return found
    }

    /// What to say of event triggers that change something.
    static func complaint(of triggers: [String], changing items: [String]) -> String {
        "An event trigger (\(triggers.joined(separator: ", "))) changes "
            + "\(items.joined(separator: ", ")) when a cut-over moves tables and makes again what "
            + "is on them. \(advice)"
    }

    private static let advice =
        "Let it pass over the tables, or type ALTER EVENT TRIGGER … DISABLE for the time of a "
        + "rebuild, a swap or a rollback."

    private func tried(
        _ triggers: [String],
        on connection: PostgresConnection
    ) async throws -> [String] {
        let away = "reprise_original_\(UInt32.random(in: .min ... .max))"
        let isReady = try await attempt(on: connection) {
            try await connection.execute(
                "ALTER SCHEMA \(SQLText.identifier(homeSchema)) RENAME TO \(away)"
            )
            try await HomeSchema.make(homeSchema, on: connection)
        }
        // What forbids probes is no statement of a cut-over.
        guard isReady == nil else { return [] }
        var reasons: [String] = []
        for table in tables {
            let probe = TableProbe(
                name: table,
                homeSchema: homeSchema,
                liveSchema: liveSchema,
                live: live.tables.first { $0.name.name == table },
                given: given
            )
            var made: UInt32?
            _ = try await attempt(on: connection) {
                made = try await probe.make(
                    like: QualifiedName(schema: away, name: table),
                    on: connection
                )
            }
            guard let made else { continue }
            reasons += try await complaints(triggers, about: probe.label, on: connection) {
                try await probe.changes(of: made, on: connection)
            }
        }
        return try await reasons + replacements(triggers, on: connection)
    }

    /// Views and functions that are made again.
    private func replacements(
        _ triggers: [String],
        on connection: PostgresConnection
    ) async throws -> [String] {
        var reasons: [String] = []
        var schemas: Set<String> = []
        for view in try await DependentView.over(live.oids, on: connection)
        where schemas.insert(view.name.schema).inserted {
            let probe = ReplacementProbe(like: view.name, isView: true)
            reasons += try await complaints(triggers, about: "\(view.name)", on: connection) {
                try await probe.changes(on: connection)
            }
        }
        schemas = []
        for function in try await functions(on: connection)
        where schemas.insert(function.schema).inserted {
            let probe = ReplacementProbe(like: function, isView: false)
            reasons += try await complaints(triggers, about: "\(function)", on: connection) {
                try await probe.changes(on: connection)
            }
        }
        return reasons
    }

    private func functions(on connection: PostgresConnection) async throws -> [QualifiedName] {
        let hosts = try await OutsideDependants.capture(on: live.oids, on: connection)
            .flatMap(\.trees).filter { $0.kind == .function }.map { Int64($0.host) }
        return try await connection.query(
            """
            SELECT n.nspname, f.proname FROM pg_catalog.pg_proc AS f
            JOIN pg_catalog.pg_namespace AS n ON n.oid = f.pronamespace
            WHERE f.oid = ANY ($1::pg_catalog.oid[]) ORDER BY 1, 2
            """,
            [.ints(hosts)]
        ).rows.map {
            QualifiedName(schema: try $0.string("nspname"), name: try $0.string("proname"))
        }
    }

    private func complaints(
        _ triggers: [String],
        about label: String,
        on connection: PostgresConnection,
        _ changes: () async throws -> Set<String>
    ) async throws -> [String] {
        var items: [String] = []
        let error = try await attempt(on: connection) {
            items = try await changes().sorted().map { "\($0) of \(label)" }
        }
        if let error {
            // A right that lacks is named by the rest of the plan.
            guard error.sqlState != "42501" || error.context != nil else { return [] }
            return [
                "An event trigger (\(triggers.joined(separator: ", "))) refuses what a cut-over types "
                    + "for \(label): \(TextForPeople.oneLine(error)). \(Self.advice)"
            ]
        }
        return items.isEmpty ? [] : [Self.complaint(of: triggers, changing: items)]
    }

    /// Runs `body`, and undoes it where the server refuses something of it.
    private func attempt(
        on connection: PostgresConnection,
        _ body: () async throws -> Void
    ) async throws -> ServerError? {
        try await connection.execute("SAVEPOINT reprise_attempt")
        do {
            try await body()
        } catch let error as ServerError where !error.isLockFailure {
            try await connection.execute("ROLLBACK TO SAVEPOINT reprise_attempt")
            return error
        }
        try await connection.execute("RELEASE SAVEPOINT reprise_attempt")
        return nil
    }
}

/// A table that goes the way of one that comes.
private struct TableProbe {
    let name: String
    let homeSchema: String
    let liveSchema: String
    /// The one that it would replace.
    let live: TableDescription?
    let given: NewTables.Given
    private let mark = "reprise_\(UInt32.random(in: .min ... .max))"

    init(
        name: String,
        homeSchema: String,
        liveSchema: String,
        live: TableDescription?,
        given: NewTables.Given
    ) {
        self.name = name
        self.homeSchema = homeSchema
        self.liveSchema = liveSchema
        self.live = live
        self.given = given
    }

    var label: String { "\(QualifiedName(schema: liveSchema, name: name))" }

    private var home: QualifiedName { QualifiedName(schema: homeSchema, name: name) }

    /// Under which name the probe is in the live schema.
    private var moved: QualifiedName {
        // The server cuts a name at 63 bytes, and would cut the mark.
        let beginning = String(decoding: name.utf8.prefix(40), as: UTF8.self)
        return QualifiedName(
            schema: liveSchema,
            name: live == nil ? name : "\(beginning)_\(mark)"
        )
    }

    /// Makes it, with a key, a check and an index.
    func make(like original: QualifiedName, on connection: PostgresConnection) async throws
        -> UInt32?
    {
        let key = try await connection.query(
            """
            SELECT pg_catalog.pg_get_constraintdef(o.oid) AS clause FROM pg_catalog.pg_constraint AS o
            WHERE o.conrelid = $1::pg_catalog.regclass AND o.contype = 'p'
            """,
            [.text(original.sql)]
        ).first?["clause"]
        let constraint = key.map { ", CONSTRAINT \(mark)_key \($0)" } ?? ""
        try await connection.execute(
            """
            CREATE TABLE \(home.sql) (LIKE \(original.sql)\(constraint),
                CONSTRAINT \(mark) CHECK (true));
            CREATE INDEX \(mark)_index ON \(home.sql) ((1))
            """
        )
        guard let probe = try await Catalogue.table(home, on: connection)?.oid else { return nil }
        if live != nil { try await giveWay(probe, on: connection) }
        return probe
    }

    /// Renames indexes that event triggers have made by a name: the live table's stay where they are.
    private func giveWay(_ probe: UInt32, on connection: PostgresConnection) async throws {
        let names = try await connection.query(
            """
            SELECT c.relname FROM pg_catalog.pg_index AS i
            JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
            WHERE i.indrelid = $1::pg_catalog.oid AND NOT pg_catalog.starts_with(c.relname, $2)
            """,
            [.int(Int64(probe)), .text(mark)]
        ).rows.map { QualifiedName(schema: homeSchema, name: try $0.string("relname")) }
        for (number, name) in names.enumerated() {
            try await connection.execute("ALTER INDEX \(name.sql) RENAME TO \(mark)_\(number)")
        }
    }

    /// What is not as it should be, after the statements of a cut-over and after the way back.
    func changes(of probe: UInt32, on connection: PostgresConnection) async throws -> Set<String> {
        let features = RelationState.Subject(label: label, oid: probe, hasAttachments: false)
        var expected = try await RelationState.lines(of: [features], on: connection)
        let rights = try await prepare(probe, on: connection)
        let attachments = try await attachments(
            of: live?.oid ?? probe,
            besides: probe,
            on: connection
        )
        expected.formUnion(attachments)
        for statement in way(with: attachments) + rights.byOthers {
            try await connection.execute(statement)
        }
        var found = try await differences(of: probe, from: expected, on: connection)
        try await connection.execute(
            "ALTER TABLE \(moved.sql) SET SCHEMA \(SQLText.identifier(homeSchema))"
        )
        found.formUnion(try await differences(of: probe, from: expected, on: connection))
        return found
    }

    private func attachments(
        of table: UInt32,
        besides probe: UInt32,
        on connection: PostgresConnection
    ) async throws -> Set<RelationState.Line> {
        let subject = RelationState.Subject(
            label: label,
            oid: table,
            twin: probe,
            hasFeatures: false
        )
        return try await RelationState.lines(of: [subject], on: connection).filter {
            !$0.item.hasPrefix("publication ")
        }
    }

    /// Owner and grants, as the tables that come have them before they move.
    ///
    /// - Returns: What others have granted is left.
    private func prepare(
        _ probe: UInt32,
        on connection: PostgresConnection
    ) async throws -> TableRights {
        try await TableAttachments.remove(from: [probe], on: connection)
        let owner = try await Catalogue.table(home, on: connection)?.owner
        if let live, live.owner != owner {
            try await connection.give("TABLE", home, to: live.owner)
        }
        let revocation = try await TableRights.revocation(of: probe, named: home, on: connection)
        for statement in revocation { try await connection.execute(statement) }
        guard let live else { return TableRights() }
        let rights = try await TableRights.copy(
            from: live.oid,
            to: probe,
            at: home,
            thereafter: moved,
            on: connection
        )
        for statement in rights.byOwner { try await connection.execute(statement) }
        return rights
    }

    /// The statements: the move, and those of the kind that each thing on the live table needs.
    private func way(with attachments: Set<RelationState.Line>) -> [String] {
        var statements: [String] = []
        if moved.name != name {
            statements.append("ALTER TABLE \(home.sql) RENAME TO \(SQLText.identifier(moved.name))")
        }
        let leaving = QualifiedName(schema: homeSchema, name: moved.name)
        statements.append(
            "ALTER TABLE \(leaving.sql) SET SCHEMA \(SQLText.identifier(liveSchema))"
        )
        guard live != nil else { return statements }
        return statements + attachments.sorted { $0.item < $1.item }.flatMap(restoration)
    }

    private func restoration(of line: RelationState.Line) -> [String] {
        let probe = moved.sql
        let name = line.item.drop { $0 != " " }.dropFirst()
        switch line.item.prefix(while: { $0 != " " }) {
        case "row-level":
            return
                (line.value.hasPrefix("t")
                ? ["ALTER TABLE \(probe) ENABLE ROW LEVEL SECURITY"] : [])
                + (line.value.hasSuffix("t")
                    ? ["ALTER TABLE \(probe) FORCE ROW LEVEL SECURITY"] : [])
        case "policy":
            return ["CREATE POLICY \(name) ON \(probe) USING (true)"]
                + comment(on: "POLICY \(name)", line.value)
        case "trigger":
            return [
                "CREATE TRIGGER \(name) BEFORE UPDATE ON \(probe) FOR EACH ROW EXECUTE FUNCTION "
                    + "pg_catalog.suppress_redundant_updates_trigger()"
            ] + state("TRIGGER \(name)", line.value)
        case "rule":
            return ["CREATE RULE \(name) AS ON UPDATE TO \(probe) DO ALSO NOTHING"]
                + state("RULE \(name)", line.value)
        default: return []
        }
    }

    /// How it fires, and its comment.
    private func state(_ object: String, _ value: String) -> [String] {
        let words = ["A": "ENABLE ALWAYS", "R": "ENABLE REPLICA", "D": "DISABLE"]
        let change = words[String(value.prefix(1))].map {
            "ALTER TABLE \(moved.sql) \($0) \(object)"
        }
        return (change.map { [$0] } ?? []) + comment(on: object, String(value.dropFirst(2)))
    }

    private func comment(on object: String, _ text: String) -> [String] {
        text.isEmpty ? [] : ["COMMENT ON \(object) ON \(moved.sql) IS \(SQLText.literal(text))"]
    }

    private func differences(
        of probe: UInt32,
        from expected: Set<RelationState.Line>,
        on connection: PostgresConnection
    ) async throws -> Set<String> {
        let subject = RelationState.Subject(label: label, oid: probe)
        let found = try await RelationState.lines(of: [subject], on: connection)
        // What a new table gets is its own, also where another role puts it there first.
        let extra = found.subtracting(expected).subtracting(live == nil ? given.lines : [])
        let items = Set(found.map(\.item))
        let lost = expected.subtracting(found).filter { live != nil || !items.contains($0.item) }
        return Set((extra.map(\.item) + lost.map(\.item)))
    }
}

/// A view or function that is made and made again.
private struct ReplacementProbe {
    let like: QualifiedName
    let isView: Bool
    private let mark = UInt32.random(in: .min ... .max)

    init(like: QualifiedName, isView: Bool) {
        self.like = like
        self.isView = isView
    }

    private var name: QualifiedName {
        let beginning = String(decoding: like.name.utf8.prefix(40), as: UTF8.self)
        return QualifiedName(schema: like.schema, name: "\(beginning)_reprise_\(mark)")
    }

    private var signature: String { isView ? name.sql : "\(name.sql)()" }

    private var definition: String {
        isView
            ? "VIEW \(name.sql) AS SELECT 1 AS reprise_probe"
            : "FUNCTION \(signature) RETURNS pg_catalog.int4 LANGUAGE sql RETURN 1"
    }

    func changes(on connection: PostgresConnection) async throws -> Set<String> {
        try await connection.execute("CREATE \(definition)")
        let row = try await connection.query(
            isView
                ? "SELECT $1::pg_catalog.regclass::pg_catalog.oid AS oid"
                : "SELECT $1::pg_catalog.regprocedure::pg_catalog.oid AS oid",
            [.text(signature)]
        ).first
        guard let oid = try row?.int("oid") else { return [] }
        let subject = RelationState.Subject(
            label: "\(like)",
            oid: UInt32(oid),
            isRoutine: !isView
        )
        // What the first making gives others is taken away, so that it is seen when the second one does.
        for statement in try await revocations(of: oid, on: connection) {
            try await connection.execute(statement)
        }
        let before = try await RelationState.lines(of: [subject], on: connection)
        let noun = isView ? "VIEW" : "FUNCTION"
        try await connection.execute("ALTER \(noun) \(signature) OWNER TO CURRENT_USER")
        try await connection.execute("CREATE OR REPLACE \(definition)")
        let after = try await RelationState.lines(of: [subject], on: connection)
        let marks = after.filter { ["comment", "options"].contains($0.item) && $0.value != "" }
        return Set(before.symmetricDifference(after).union(marks).map(\.item))
    }

    private func revocations(
        of oid: Int64,
        on connection: PostgresConnection
    ) async throws -> [String] {
        if isView {
            return try await TableRights.revocation(of: UInt32(oid), named: name, on: connection)
        }
        return try await connection.query(
            """
            SELECT pg_catalog.format('REVOKE ALL ON FUNCTION %s FROM %s', f.oid::pg_catalog.regprocedure,
                CASE a.grantee WHEN 0 THEN 'PUBLIC'
                    ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END) AS statement
            FROM pg_catalog.pg_proc AS f
            CROSS JOIN LATERAL pg_catalog.aclexplode(coalesce(f.proacl,
                pg_catalog.acldefault('f', f.proowner))) AS a
            WHERE f.oid = $1::pg_catalog.oid AND a.grantee <> f.proowner
            """,
            [.int(oid)]
        ).rows.map { try $0.string("statement") }
    }
}
