import Postgres
import ShopProjection
import TestSupport
import Testing

@Suite("pg_stat_statements")
struct StatementCountTests {
    private static let naming = """
        SELECT pg_catalog.count(*) FROM public.pg_stat_statements
        WHERE query LIKE '%shop__g%' AND query NOT LIKE 'SELECT%'
        """

    private func withServer(_ body: (RebuildScene) async throws -> Void) async throws {
        try await PrivateServer.with(
            settings: ["shared_preload_libraries = 'pg_stat_statements'"]
        ) { server in
            try await server.withScene { scene in
                try await scene.database.execute(
                    "CREATE EXTENSION pg_stat_statements SCHEMA public"
                )
                try scene.appendShop(events: 200, seed: 6)
                try await body(scene)
            }
        }
    }

    @Test("E11: statements that name a generation's schema are left out, where the role may say so")
    func leftOut() async throws {
        try await withServer { scene in
            for _ in 0..<3 { _ = try await scene.rebuild(Shop.self) }
            #expect(try await scene.database.query(Self.naming).first?.int("count") == 0)
        }
    }

    @Test(
        "E11: a role that may not say so rebuilds all the same, and after the GRANT leaves them out"
    )
    func granted() async throws {
        try await withServer { scene in
            try await scene.database.execute(
                """
                CREATE ROLE job LOGIN;
                GRANT CREATE ON DATABASE scene TO job;
                GRANT USAGE, CREATE ON SCHEMA public TO job
                """
            )
            let job = scene.connecting(to: scene.database.asRole("job"))
            _ = try await job.rebuild(Shop.self)
            #expect(try await scene.database.query(Self.naming).first?.int("count") ?? 0 > 20)
            try await scene.database.execute(
                """
                GRANT SET ON PARAMETER pg_stat_statements.track_utility TO job;
                SELECT public.pg_stat_statements_reset()
                """
            )
            _ = try await job.rebuild(Shop.self)
            #expect(try await scene.database.query(Self.naming).first?.int("count") == 0)
        }
    }
}
