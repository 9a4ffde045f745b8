internal import Ledgers
internal import Postgres
internal import ReadModels
internal import Rebuilder
internal import TestSupport
internal import Testing

@Suite("Foreign keys of a projection's tables", .serialized)
struct ForeignKeyTests {
    @Test("a table of somebody else's that they refer to is free while the rows are loaded")
    func parentIsFree() async throws {
        try await withRebuildScene { scene in
            try scene.append([Note.event(1, words: "a"), Note.event(2, words: "a")])
            // Called for each row of the COPY.
            try await scene.database.execute(
                """
                CREATE TABLE public.parent (words text PRIMARY KEY);
                INSERT INTO public.parent VALUES ('a');
                CREATE FUNCTION public.parent_is_free() RETURNS boolean LANGUAGE sql AS
                    $$SELECT NOT EXISTS (SELECT FROM pg_catalog.pg_locks
                        WHERE relation = 'public.parent'::regclass AND mode <> 'AccessShareLock')$$
                """
            )
            try await GivenSQL.$schema.withValue(Self.schema) {
                for _ in 1...2 {
                    let report = try await scene.rebuild(Notes.self)
                    #expect(report.isLive)
                }
            }
            let keys = try await scene.rows(of: Self.keys)
            #expect(keys == ["(note_words_fkey,t,public.parent)"])
        }
    }

    @Test("a row whose parent is missing stops the run; the key is named and the live rows stay")
    func orphan() async throws {
        let schema = "CREATE TABLE note (id bigint PRIMARY KEY, words text REFERENCES parent)"
        try await withRebuildScene { scene in
            try scene.append([Note.event(1, words: "a")])
            try await scene.database.execute(
                """
                CREATE TABLE public.parent (words text PRIMARY KEY);
                INSERT INTO public.parent VALUES ('a')
                """
            )
            try await GivenSQL.$schema.withValue(schema) {
                _ = try await scene.rebuild(Notes.self)
                try scene.append([Note.event(2, words: "s3cret")])
                let error = await #expect(throws: ReadModelError.self) {
                    _ = try await scene.rebuild(Notes.self)
                }
                let message = error.map { "\($0)" } ?? ""
                #expect(message.contains("note_words_fkey"), "\(message)")
                #expect(!message.contains("s3cret"), "\(message)")
                #expect(try await scene.database.count("public.note") == 1)
                try await scene.database.execute("INSERT INTO public.parent VALUES ('s3cret')")
                let report = try await scene.rebuild(Notes.self)
                #expect(report.isLive)
                #expect(try await scene.strayHomes() == 0)
            }
        }
    }

    private static let schema = """
        CREATE TABLE note (id bigint PRIMARY KEY, words text REFERENCES parent,
            CHECK (parent_is_free()))
        """

    private static let keys = """
        (SELECT conname, convalidated, confrelid::regclass::text FROM pg_catalog.pg_constraint
         WHERE contype = 'f' AND conrelid = 'public.note'::regclass)
        """
}
