import Postgres
import ReadModels
import Rebuilder
import TestSupport
import Testing

@Suite("Bookkeeping")
struct BookkeepingTests {
    /// What the migrations after the first one made.
    private static let undone = """
        DROP TABLE reprise.follow_up;
        DROP TABLE reprise.follower;
        ALTER TABLE reprise.generation DROP load_xid, DROP live_shape, DROP built_by;
        ALTER TABLE reprise.generation_table DROP kind, DROP shape;
        ALTER TABLE reprise.swap DROP attempts, DROP lock_wait_ms, DROP longest_failed_wait_ms,
            DROP held_ms;
        DELETE FROM reprise.migration WHERE number > 1;
        """

    @Test("a plan, a status and a rebuild bring an older schema up to date, and keep what it holds")
    func olderVersion() async throws {
        try await withRebuildScene { scene in
            try scene.append(counted([1, 2]))
            _ = try await scene.rebuild(Tally.self)
            try await scene.database.execute(Self.undone)
            #expect(try await scene.plan(Tally.self).liveGeneration == 1)

            try await scene.database.execute(Self.undone)
            #expect(try await scene.control(Tally.self).status().generations.count == 1)

            try await scene.database.execute(Self.undone)
            try scene.append(counted([3]))
            #expect(try await scene.rebuild(Tally.self).generation == 2)
            #expect(try await scene.database.count("public.tally") == 3)
            _ = try await scene.control(Tally.self).rollback(patience: CutOverPatience())
            #expect(try await scene.database.count("public.tally") == 2)
        }
    }

    @Test("a plan of a database that nobody has used makes no schema in it")
    func unusedDatabase() async throws {
        try await withRebuildScene { scene in
            try scene.append(counted([1]))
            #expect(try await scene.plan(Tally.self).refusals == [])
            let found = try await scene.database.query(
                "SELECT FROM pg_catalog.pg_namespace WHERE nspname ~ 'reprise|__g'"
            )
            #expect(found.rows.isEmpty)
        }
    }
}
