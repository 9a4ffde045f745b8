import Postgres
import ReadModels
import Rebuilder
import TestSupport
import Testing

@Suite("What was put onto live tables by hand")
struct HandMadeTests {
    private static let table = """
        CREATE TABLE note (id bigint PRIMARY KEY, words text);
        CREATE INDEX note_words ON note (words);
        COMMENT ON INDEX note_words IS 'from the file';
        """

    private static let additions = """
        CREATE INDEX "by hand" ON public.note (lower(words)) WHERE id > 1;
        COMMENT ON INDEX public."by hand" IS 'i';
        ALTER INDEX public."by hand" ALTER COLUMN 1 SET STATISTICS 55;
        ALTER TABLE public.note ADD CONSTRAINT short CHECK (length(words) < 99);
        ALTER TABLE public.note ADD CONSTRAINT long CHECK (length(words) > 99) NOT VALID;
        ALTER TABLE public.note ADD CONSTRAINT pair UNIQUE (id, words) DEFERRABLE;
        ALTER TABLE public.note ADD CONSTRAINT known FOREIGN KEY (id) REFERENCES public.known;
        COMMENT ON CONSTRAINT known ON public.note IS 'k';
        CREATE STATISTICS public.extra ON id, words FROM public.note;
        COMMENT ON TABLE public.note IS 't'; COMMENT ON COLUMN public.note.words IS 'c';
        ALTER TABLE public.note SET (fillfactor = 70, toast.autovacuum_enabled = false),
            ALTER words SET STATISTICS 9, ALTER words SET (n_distinct = 3),
            ALTER words SET STORAGE EXTERNAL, ALTER words SET DEFAULT 'none',
            CLUSTER ON note_words, REPLICA IDENTITY FULL;
        """

    @Test("it is carried over through any number of rebuilds, and the plan tells it")
    func carriedOver() async throws {
        try await withNotes(Self.table) { scene in
            try await scene.database.execute(
                "CREATE TABLE public.known (id bigint PRIMARY KEY);"
                    + "INSERT INTO public.known VALUES (1), (2)"
            )
            // The rows break the check that was never validated.
            try await scene.database.execute(Self.additions)
            let before = try await SchemaDump.of(in: scene.database)
            let plan = try await scene.plan(Notes.self)
            #expect(plan.refusals.isEmpty)
            #expect(plan.warnings.isEmpty)
            let told = plan.findings.filter { $0.note.hasPrefix("put there by hand") }
            #expect(told.allSatisfy { $0.level == .ok })
            #expect(
                told.compactMap(\.subject).sorted() == [
                    "CLUSTER mark on public.note",
                    "comment of column words on public.note",
                    "comment of the table on public.note",
                    "constraint known on public.note", "constraint long on public.note",
                    "constraint pair on public.note", "constraint short on public.note",
                    "default of column words on public.note",
                    #"index "by hand" on public.note"#,
                    "n_distinct of column words on public.note",
                    "replica identity on public.note", "setting fillfactor on public.note",
                    "setting toast.autovacuum_enabled on public.note",
                    "statistics extra on public.note",
                    "statistics target of column words on public.note",
                    "storage of column words on public.note",
                ]
            )
            for _ in 1...2 {
                #expect(try await scene.rebuild(Notes.self).isLive)
                #expect(try await SchemaDump.of(in: scene.database) == before)
            }
            _ = try await scene.control(Notes.self).rollback(patience: CutOverPatience())
            #expect(try await SchemaDump.of(in: scene.database) == before)
        }
    }

    @Test("a definition changed by hand takes the place of the file's, and keeps its comment")
    func changed() async throws {
        let table =
            Self.table + "ALTER TABLE note ADD CONSTRAINT positive CHECK (id > 0); "
            + "COMMENT ON CONSTRAINT positive ON note IS 'c'; ALTER TABLE note SET (fillfactor = 90);"
        try await withNotes(table) { scene in
            try await scene.database.execute(
                """
                DROP INDEX public.note_words; CREATE INDEX note_words ON public.note (words, id);
                COMMENT ON INDEX public.note_words IS 'from the file';
                ALTER TABLE public.note DROP CONSTRAINT positive, SET (fillfactor = 50),
                    ADD CONSTRAINT positive CHECK (id > -1);
                COMMENT ON CONSTRAINT positive ON public.note IS 'c';
                """
            )
            let before = try await SchemaDump.of(in: scene.database)
            #expect(try await scene.plan(Notes.self).findings.count { $0.level == .ok } >= 3)
            _ = try await scene.rebuild(Notes.self)
            #expect(try await SchemaDump.of(in: scene.database) == before)
        }
    }

    @Test("what the file drops goes, and what it drops after a change by hand goes with a warning")
    func droppedByFile() async throws {
        try await withNotes(Self.table + "CREATE INDEX second ON note (id, words);") { scene in
            try await scene.database.execute(
                "ALTER INDEX public.second SET (fillfactor = 50); "
                    + "CREATE INDEX third ON public.note (words, id)"
            )
            try await GivenSQL.$schema.withValue(SchemaFileTests.note) {
                let plan = try await scene.plan(Notes.self)
                #expect(
                    plan.findings.filter { $0.level == .warn }.map(\.subject) == [
                        "index second on public.note"
                    ]
                )
                _ = try await scene.rebuild(Notes.self)
            }
            #expect(try await Self.indexes(in: scene) == ["(note_pkey)", "(third)"])
        }
    }

    @Test("tables that were there before the first rebuild keep what the file does not have")
    func adopted() async throws {
        try await withRebuildScene { scene in
            try scene.append([Note.event(1)])
            try await scene.database.execute(
                """
                CREATE TABLE public.note (id bigint CONSTRAINT mine PRIMARY KEY, words text);
                CREATE INDEX old ON public.note (words, id);
                CREATE INDEX same ON public.note (words);
                """
            )
            try await GivenSQL.$schema.withValue(Self.table) {
                let plan = try await scene.plan(Notes.self)
                #expect(plan.refusals.isEmpty)
                #expect(plan.warnings.count == 2)
                #expect(plan.warnings.contains { $0.contains("mine") && $0.contains("note_pkey") })
                #expect(plan.warnings.contains { $0.contains("same") && $0.contains("note_words") })
                _ = try await scene.rebuild(Notes.self)
            }
            #expect(
                try await Self.indexes(in: scene) == ["(note_pkey)", "(note_words)", "(old)"]
            )
        }
    }

    @Test(
        "what does not fit the new table is refused at plan time by name, and nothing is left",
        arguments: [
            ("CREATE INDEX hand ON public.note (more)", "index hand on public.note"),
            (
                "ALTER TABLE public.note ADD CONSTRAINT hand CHECK (more > 1)",
                "constraint hand on public.note"
            ),
            (
                "CREATE STATISTICS public.hand ON id, more FROM public.note",
                "statistics hand on public.note"
            ),
            (
                "ALTER TABLE public.note ADD CONSTRAINT hand FOREIGN KEY (more) "
                    + "REFERENCES public.other", "constraint hand on public.note"
            ),
            (
                "CREATE INDEX hand ON public.note (words text_pattern_ops)",
                "index hand on public.note"
            ),
        ]
    )
    func unfit(statement: String, name: String) async throws {
        let old = "CREATE TABLE note (id bigint PRIMARY KEY, words text, more int);"
        try await withNotes(old) { scene in
            try await scene.database.execute(
                "CREATE TABLE public.other (id int PRIMARY KEY); \(statement)"
            )
            let catalogue = try await scene.database.catalogue()
            // Without the one column, and with the other of a type that has no such operators.
            let new = "CREATE TABLE note (id bigint PRIMARY KEY, words text[])"
            try await GivenSQL.$schema.withValue(new) {
                let plan = try await scene.plan(Notes.self)
                #expect(plan.refusals.contains { $0.hasPrefix(name) }, "\(plan.refusals)")
                #expect(try await scene.database.catalogue() == catalogue)
            }
        }
    }

    private static func indexes(in scene: RebuildScene) async throws -> [String] {
        try await scene.rows(
            of: "(SELECT indexname FROM pg_catalog.pg_indexes WHERE schemaname = 'public' "
                + "AND tablename = 'note')"
        )
    }

    /// Runs `body` with two notes that are live in a table that the file made.
    private func withNotes(
        _ schema: String,
        _ body: (RebuildScene) async throws -> Void
    ) async throws {
        try await withRebuildScene { scene in
            try scene.append([Note.event(1), Note.event(2)])
            try await GivenSQL.$schema.withValue(schema) {
                _ = try await scene.rebuild(Notes.self)
                try await body(scene)
            }
        }
    }
}
