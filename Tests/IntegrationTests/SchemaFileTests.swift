internal import Ledgers
internal import Postgres
internal import ProjectionKit
internal import ReadModels
internal import Rebuilder
internal import TestSupport
internal import Testing

@Suite("The SQL files of a projection", .serialized)
struct SchemaFileTests {
    @Test("a byte order mark before a file is passed over")
    func byteOrderMark() async throws {
        try await withRebuildScene { scene in
            try await Self.prepare(scene)
            try await GivenSQL.$schema.withValue("\u{FEFF}" + Self.note) {
                #expect(try await scene.plan(Notes.self).refusals == [])
                _ = try await scene.rebuild(Notes.self)
            }
        }
    }

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

    @Test(
        "what a schema.sql makes outside of its tables is refused by the first plan (M5)",
        arguments: [
            BadFile(
                "CREATE FUNCTION public.once() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
                "function once()"
            ),
            BadFile(
                "CREATE OR REPLACE FUNCTION public.touched() RETURNS trigger LANGUAGE plpgsql AS "
                    + "'BEGIN RETURN NEW; END'",
                "function touched()"
            ),
            BadFile("CREATE TYPE public.mood AS ENUM ('calm')", "type mood"),
            BadFile("CREATE DOMAIN public.small AS integer", "type small"),
            BadFile("CREATE SCHEMA elsewhere", "schema elsewhere"),
            BadFile("CREATE ROLE made_by_a_schema_file", "role made_by_a_schema_file"),
            BadFile("CREATE EXTENSION IF NOT EXISTS pg_trgm SCHEMA public", "extension pg_trgm"),
            BadFile("CREATE COLLATION public.mine (locale = 'C')", "collation mine"),
            BadFile("CREATE CAST (bigint AS bytea) WITH INOUT", "cast from bigint to bytea"),
            BadFile("CREATE PUBLICATION everything", "publication everything"),
            BadFile(
                "DO $$ BEGIN CREATE TYPE public.mood AS ENUM ('calm'); EXCEPTION WHEN "
                    + "duplicate_object THEN NULL; END $$",
                "type mood"
            ),
        ]
    )
    func unrepeatable(_ file: BadFile) async throws {
        try await withRebuildScene { scene in
            try scene.append([Note.event(1)])
            try await scene.database.execute(
                """
                CREATE FUNCTION public.touched() RETURNS trigger LANGUAGE plpgsql AS
                    'BEGIN RETURN NULL; END'
                """
            )
            let catalogue = try await scene.database.catalogue()
            try await GivenSQL.$schema.withValue(Self.note + "; " + file.statement) {
                let plan = try await scene.plan(Notes.self)
                for part in file.said {
                    #expect(
                        plan.refusals.contains { $0.contains(part) && $0.contains("setup.sql") },
                        "\(plan.refusals)"
                    )
                }
                await #expect(throws: ReadModelError.self) {
                    _ = try await scene.rebuild(Notes.self)
                }
            }
            #expect(try await scene.database.count("pg_class WHERE relname = 'note'") == 0)
            #expect(try await scene.strayHomes() == 0)
            #expect(!catalogue.isEmpty)
        }
    }

    @Test("setup.sql runs before every build, and what it makes is not schema.sql's (M5)")
    func setupEveryTime() async throws {
        let setup = """
            CREATE TABLE IF NOT EXISTS public.times (id bigint GENERATED ALWAYS AS IDENTITY);
            INSERT INTO public.times DEFAULT VALUES;
            CREATE OR REPLACE FUNCTION public.fresh() RETURNS integer LANGUAGE sql AS 'SELECT 1'
            """
        try await withRebuildScene { scene in
            try scene.append([Note.event(1)])
            try await GivenSQL.$schema.withValue(Self.note) {
                try await GivenSQL.$setup.withValue(setup) {
                    for times in 1...2 as ClosedRange<Int64> {
                        let plan = try await scene.plan(Notes.self)
                        #expect(plan.refusals == [])
                        _ = try await scene.rebuild(Notes.self)
                        let kept = try await scene.database.count("public.times")
                        #expect(kept == times)
                    }
                }
            }
        }
    }

    @Test("a projection with working tables only gets a message that names them (M5)")
    func workingTablesOnly() async throws {
        try await withRebuildScene { scene in
            let plan = try await scene.plan(Unseen.self)
            #expect(
                plan.refusals.contains {
                    $0.hasPrefix("It declares working tables only, which no reader sees: 'note'.")
                },
                "\(plan.refusals)"
            )
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
        "a setup.sql that changes a table of a generation or the bookkeeping is refused by name (M1)",
        arguments: [
            BadFile("DROP TABLE note", "public.note, a live table of 'notes'"),
            BadFile("DROP TABLE IF EXISTS note CASCADE", "public.note"),
            BadFile("CREATE TYPE mine AS ENUM ('a'); DELETE FROM note; SELECT 1", "public.note"),
            BadFile("TRUNCATE note", "public.note"),
            BadFile("UPDATE note SET words = 'other' WHERE id = 1", "public.note"),
            BadFile("INSERT INTO note VALUES (9, 'mine')", "public.note"),
            BadFile("ALTER TABLE note ADD COLUMN more text", "public.note"),
            BadFile("ALTER TABLE note RENAME TO gone", "public.note"),
            BadFile("CREATE SCHEMA away; ALTER TABLE note SET SCHEMA away", "public.note"),
            BadFile("CREATE INDEX ON note (words)", "public.note"),
            BadFile("ALTER TABLE note DROP CONSTRAINT note_pkey", "public.note"),
            BadFile(
                "CREATE TRIGGER t BEFORE INSERT ON note EXECUTE FUNCTION touched()",
                "public.note"
            ),
            BadFile("DO $$ BEGIN EXECUTE 'DELETE FROM ' || 'note'; END $$", "public.note"),
            BadFile("SELECT wipe()", "public.note"),
            // A deferred trigger runs when the file is through.
            BadFile("INSERT INTO other_live VALUES (1)", "public.note"),
            BadFile("DROP TABLE notes__g1.note", "notes__g1.note, a table of generation 1 of"),
            BadFile("DROP SCHEMA notes__g1 CASCADE", "notes__g1.note"),
            BadFile("DELETE FROM reprise.swap", "reprise.swap, a part of the bookkeeping"),
            BadFile("DROP SCHEMA reprise CASCADE", "reprise.generation"),
            BadFile("COMMIT; DELETE FROM note", "setup.sql, line 1"),
            BadFile("BEGIN; DELETE FROM note", "setup.sql, line 1"),
        ]
    )
    func destructiveSetup(_ file: BadFile) async throws {
        try await withRebuildScene { scene in
            try await Self.prepare(scene)
            try await GivenSQL.$schema.withValue(Self.note) {
                _ = try await scene.rebuild(Notes.self)
                try await scene.database.execute(Self.traps)
                let live = try await scene.rows(of: "public.note")
                let retired = try await scene.rows(of: "notes__g1.note")
                let swaps = try await scene.database.count("reprise.swap")
                let catalogue = try await scene.database.catalogue()
                try await GivenSQL.$setup.withValue(file.statement) {
                    let plan = try await scene.plan(Notes.self)
                    let error = await #expect(throws: ReadModelError.self) {
                        _ = try await scene.rebuild(Notes.self)
                    }
                    for part in file.said {
                        #expect(plan.refusals.contains { $0.contains(part) }, "\(plan.refusals)")
                        #expect(error.map { "\($0)" }?.contains(part) == true)
                    }
                }
                #expect(try await scene.rows(of: "public.note") == live)
                #expect(try await scene.rows(of: "notes__g1.note") == retired)
                #expect(try await scene.database.count("reprise.swap") == swaps)
                #expect(try await scene.database.catalogue() == catalogue)
                let report = try await scene.rebuild(Notes.self)
                #expect(report.isLive)
            }
        }
    }

    @Test("a setup.sql that names live tables without changing them runs, again and again (M1)")
    func harmlessSetup() async throws {
        let setup = """
            CREATE TABLE IF NOT EXISTS lookup (word text PRIMARY KEY);
            INSERT INTO lookup VALUES ('hello') ON CONFLICT DO NOTHING;
            CREATE OR REPLACE FUNCTION notes_of(wanted text) RETURNS bigint LANGUAGE plpgsql
                AS 'BEGIN RETURN (SELECT count(*) FROM note WHERE words = wanted); END';
            DO $$ BEGIN CREATE DOMAIN wording AS text; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
            ALTER DOMAIN wording DROP CONSTRAINT IF EXISTS short;
            ALTER DOMAIN wording ADD CONSTRAINT short CHECK (length(VALUE) < 99);
            SELECT count(*) FROM pg_catalog.pg_class WHERE relname = 'note'
            """
        try await withRebuildScene { scene in
            try scene.append([Note.event(1), Note.event(2)])
            let schema = "CREATE TABLE note (id bigint PRIMARY KEY, words wording)"
            try await GivenSQL.$schema.withValue(schema) {
                try await GivenSQL.$setup.withValue(setup) {
                    for _ in 1...3 {
                        let plan = try await scene.plan(Notes.self)
                        #expect(plan.refusals == [])
                        let report = try await scene.rebuild(Notes.self)
                        #expect(report.isLive)
                    }
                }
            }
            #expect(try await scene.database.count("public.lookup") == 1)
        }
    }

    /// Ways to the live table that no statement of a file shows.
    private static let traps = """
        CREATE FUNCTION public.wipe() RETURNS void LANGUAGE sql AS 'DELETE FROM public.note';
        CREATE FUNCTION public.wipe_later() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN DELETE FROM public.note; RETURN NULL; END';
        CREATE CONSTRAINT TRIGGER later AFTER INSERT ON public.other_live
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.wipe_later()
        """

    @Test(
        "a checks.sql that changes something is refused, by whatever way it does (M1)",
        arguments: [
            "TRUNCATE public.note", "DROP TABLE public.note", "SELECT public.wipe()",
            "DO $$ BEGIN DELETE FROM public.note; END $$",
            "SET LOCAL transaction_read_only = off; DELETE FROM public.note",
            "SELECT set_config('transaction_read_only', 'off', true); DELETE FROM public.note",
        ]
    )
    func destructiveChecks(_ statement: String) async throws {
        try await withRebuildScene { scene in
            try await Self.prepare(scene)
            try await scene.database.execute(Self.traps)
            let live = try await scene.rows(of: "public.note")
            let catalogue = try await scene.database.catalogue()
            for strategy in [Strategy.swap, .truncate] {
                await GivenSQL.$schema.withValue(Self.note) {
                    await GivenSQL.$checks.withValue(statement) {
                        var options = RebuildOptions()
                        options.strategy = strategy
                        let error = await #expect(throws: ReadModelError.self) {
                            _ = try await scene.rebuild(Notes.self, options: options)
                        }
                        let message = error.map { "\($0)" } ?? ""
                        #expect(message.contains("read-only"), "\(message)")
                    }
                }
                #expect(try await scene.rows(of: "public.note") == live)
                #expect(try await scene.database.catalogue() == catalogue)
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
                case .server(_, let reason), .lockedOut(let reason, _), .unreachable(let reason),
                    .diskFull(_, _, let reason, _):
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

/// Shows its readers nothing.
private struct Unseen: Projection {
    static let name = "unseen"
    static let schema: String? = nil
    var rows = WorkingTable<Note>()

    mutating func reduce(_ event: borrowing Event) throws {}
}
