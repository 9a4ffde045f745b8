internal import Ledgers
internal import Postgres
internal import ReadModels
internal import Rebuilder
internal import TestSupport
internal import Testing

@Suite("The SQL files of a projection", .serialized)
struct SchemaFileTests {
    @Test(
        "a schema.sql that does more than make the declared tables is refused and leaves nothing",
        arguments: [
            BadFile("COMMIT", "schema.sql"),
            BadFile("ROLLBACK; BEGIN", "schema.sql"),
            // The mark makes one character with the quote before it, for Swift and not for SQL.
            BadFile("SELECT '\u{301}'; COMMIT", "schema.sql"),
            BadFile("SELECT $\u{f6}$'$\u{f6}$; COMMIT", "schema.sql"),
            BadFile("SELECT 1 AS \u{f6}$a; COMMIT; SELECT 1 AS \u{f6}$a$", "schema.sql"),
            BadFile("DO $$ BEGIN COMMIT; END $$", "schema.sql"),
            BadFile("CREATE VIEW words AS SELECT words FROM note", "view", "words"),
            BadFile(
                "CREATE FUNCTION f() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
                "function",
                "f()"
            ),
            BadFile("ALTER TABLE note SET UNLOGGED", "unlogged", "note"),
            BadFile("CREATE TYPE mood AS ENUM ('calm')", "type", "mood"),
            BadFile("CREATE TYPE pair AS (a integer)", "type", "pair"),
            BadFile("CREATE TABLE other (id bigint)", "other"),
            BadFile("CREATE SEQUENCE numbers", "sequence", "numbers"),
            BadFile("CREATE TABEL other (id bigint)", "schema.sql", "syntax error", "TABEL"),
            BadFile("SELECT nothing FROM nowhere", "schema.sql", "nowhere"),
            BadFile("COPY note FROM STDIN", "schema.sql"),
            BadFile("CREATE COLLATION mine (locale = 'C')", "collation", "mine"),
            BadFile(
                "CREATE TRIGGER t BEFORE INSERT ON note EXECUTE FUNCTION touched()",
                "trigger t",
                "live table"
            ),
            BadFile("CREATE RULE r AS ON DELETE TO note DO INSTEAD NOTHING", "rule r"),
            BadFile("ALTER TABLE note ENABLE ROW LEVEL SECURITY", "row-level security"),
            BadFile("INSERT INTO note VALUES (7, 'mine')", "note", "rows"),
            BadFile("DROP TABLE other_live", "other_live"),
            BadFile("DROP TABLE public.note", "public.note"),
            BadFile("INSERT INTO other_live VALUES (1)", "other_live"),
            BadFile("CREATE INDEX ON other_live (id)", "other_live"),
            BadFile("ALTER TABLE other_live ADD COLUMN more text", "other_live"),
            BadFile("CREATE TABLE public.stray (id bigint)", "stray"),
        ]
    )
    func badSchema(_ file: BadFile) async throws {
        try await withRebuildScene { scene in
            try await Self.prepare(scene)
            let live = try await scene.rows(of: "public.note")
            let catalogue = try await scene.database.catalogue()
            let schema = Self.note + ";\n" + file.statement
            try await GivenSQL.$schema.withValue(schema) {
                let plan = try await scene.plan(Notes.self)
                #expect(plan.refusals.isEmpty == false)
                for part in file.said {
                    #expect(plan.refusals.contains { $0.contains(part) }, "\(plan.refusals)")
                }
                #expect(try await scene.database.catalogue() == catalogue)
                await #expect(throws: ReadModelError.self) {
                    _ = try await scene.rebuild(Notes.self)
                }
            }
            #expect(try await scene.rows(of: "public.note") == live)
            #expect(try await scene.database.count("public.other_live") == 0)
            #expect(try await scene.strayHomes() == 0)
            try await GivenSQL.$schema.withValue(Self.note) {
                let report = try await scene.rebuild(Notes.self)
                #expect(report.isLive)
            }
        }
    }

    @Test("a schema.sql that first drops its tables if they exist never drops the live ones")
    func dropIfExists() async throws {
        try await withRebuildScene { scene in
            try await Self.prepare(scene)
            try await GivenSQL.$schema.withValue("DROP TABLE IF EXISTS note; " + Self.note) {
                let plan = try await scene.plan(Notes.self)
                #expect(plan.refusals.contains { $0.contains("public.note") }, "\(plan.refusals)")
                await #expect(throws: ReadModelError.self) {
                    _ = try await scene.rebuild(Notes.self)
                }
            }
            #expect(try await scene.database.count("public.note") == 2)
        }
    }

    @Test("without a schema.sql the live tables are cloned, and keep what they have")
    func clone() async throws {
        let definitions = """
            (SELECT schemaname, indexdef FROM pg_catalog.pg_indexes WHERE tablename = 'note'
             UNION ALL SELECT conrelid::regclass::text, conname FROM pg_catalog.pg_constraint
             WHERE conname ~ '^note')
            """
        try await withRebuildScene { scene in
            try scene.append([Note.event(1), Note.event(2)])
            try await scene.database.execute(
                """
                CREATE TABLE public.parent (words text PRIMARY KEY);
                INSERT INTO public.parent VALUES ('hello');
                CREATE TABLE public.note (id bigint PRIMARY KEY, words text REFERENCES public.parent,
                    CONSTRAINT note_positive CHECK (id > 0));
                CREATE INDEX note_words ON public.note (lower(words)) WHERE id > 1
                """
            )
            let before = try await scene.rows(of: definitions)
            #expect(try await scene.plan(Notes.self).refusals == [])
            let report = try await scene.rebuild(Notes.self)
            #expect(report.previousGeneration == 0)
            let after = try await scene.rows(of: definitions)
            #expect(before.count == 5)
            #expect(after.filter { !$0.contains("notes__g0") } == before)
            // The foreign key belongs to the live one alone.
            #expect(after.count == 2 * before.count - 1)
            #expect(try await scene.database.count("public.note") == 2)
        }
    }

    @Test("a setup.sql that ends its transaction is refused and leaves nothing")
    func badSetup() async throws {
        try await withRebuildScene { scene in
            try await Self.prepare(scene)
            let catalogue = try await scene.database.catalogue()
            try await GivenSQL.$schema.withValue(Self.note) {
                try await GivenSQL.$setup.withValue("CREATE TYPE mine AS ENUM ('a'); COMMIT") {
                    let plan = try await scene.plan(Notes.self)
                    #expect(plan.refusals.contains { $0.hasPrefix("setup.sql") })
                    #expect(try await scene.database.catalogue() == catalogue)
                }
            }
        }
    }

    @Test(
        "a checks.sql that cannot run or would change something is refused at plan time",
        arguments: [
            BadFile("SELEC 1", "checks.sql", "syntax error"),
            BadFile("SELECT missing FROM note", "checks.sql", "missing"),
            BadFile("COMMIT; DELETE FROM public.note; SELECT 1 WHERE false", "checks.sql"),
            BadFile("DELETE FROM public.note", "checks.sql"),
        ]
    )
    func badChecks(_ file: BadFile) async throws {
        try await withRebuildScene { scene in
            try await Self.prepare(scene)
            let live = try await scene.rows(of: "public.note")
            for strategy in [Strategy.swap, .truncate] {
                try await GivenSQL.$schema.withValue(Self.note) {
                    try await GivenSQL.$checks.withValue(file.statement) {
                        let plan = try await scene.plan(Notes.self, strategy: strategy)
                        // A truncate has no empty tables to try them on; the run finds out.
                        for part in file.said where strategy == .swap {
                            #expect(
                                plan.refusals.contains { $0.contains(part) },
                                "\(plan.refusals)"
                            )
                        }
                        var options = RebuildOptions()
                        options.strategy = strategy
                        await #expect(throws: ReadModelError.self) {
                            _ = try await scene.rebuild(Notes.self, options: options)
                        }
                    }
                }
                #expect(try await scene.rows(of: "public.note") == live)
            }
        }
    }

    @Test(
        "a statement of a file that is cancelled, or lacks a lock or space, is no refusal of the plan",
        arguments: ["57014", "53100", "40P01", "08006", "55P03"]
    )
    func circumstances(_ state: String) async throws {
        try await withRebuildScene { scene in
            try await Self.prepare(scene)
            let failing = "DO $$ BEGIN RAISE EXCEPTION 'later' USING ERRCODE = '\(state)'; END $$"
            for file in ["schema.sql", "setup.sql", "checks.sql"] {
                let schema = file == "schema.sql" ? failing : Self.note
                let error = await #expect(throws: ReadModelError.self, "\(file)") {
                    try await GivenSQL.$schema.withValue(schema) {
                        try await GivenSQL.$setup.withValue(file == "setup.sql" ? failing : nil) {
                            try await GivenSQL.$checks.withValue(
                                file == "checks.sql" ? failing : nil
                            ) { _ = try await scene.rebuild(Notes.self) }
                        }
                    }
                }
                switch error {
                case .server(_, let reason), .lockedOut(let reason, _):
                    #expect(reason.contains(state))
                default: Issue.record("\(file) gave \(error as Any)")
                }
            }
        }
    }

    static let note = "CREATE TABLE note (id bigint PRIMARY KEY, words text)"

    /// Two live notes and a table of somebody else's.
    private static func prepare(_ scene: RebuildScene) async throws {
        try scene.append([Note.event(1), Note.event(2)])
        try await scene.database.execute(
            """
            CREATE TABLE public.other_live (id bigint);
            CREATE FUNCTION public.touched() RETURNS trigger LANGUAGE plpgsql AS
                'BEGIN RETURN NULL; END'
            """
        )
        try await GivenSQL.$schema.withValue(note) { _ = try await scene.rebuild(Notes.self) }
    }
}

extension RebuildScene {
    /// Home schemas that no generation on record owns.
    func strayHomes() async throws -> Int64 {
        try await database.count(
            """
            pg_catalog.pg_namespace AS n
            WHERE nspname LIKE '%\\_\\_g%' AND NOT EXISTS (
                SELECT FROM reprise.generation AS g
                WHERE g.home_schema_oid = n.oid AND g.state IN ('ready', 'live', 'retired'))
            """
        )
    }
}

struct BadFile: Sendable, CustomTestStringConvertible {
    let statement: String
    let said: [String]

    init(_ statement: String, _ said: String...) {
        self.statement = statement
        self.said = said
    }

    var testDescription: String { statement }
}
