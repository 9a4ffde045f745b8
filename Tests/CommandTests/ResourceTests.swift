import Postgres
import TestSupport
import Testing

@Suite("What is used up or locked")
struct ResourceTests {
    @Test("C3: a rebuild that meets a full disk drops what it had built, and names the way out")
    func fullDisk() async throws {
        try await withShop { reprise, scene in
            // As the server says it when a file cannot grow: at the first index over loaded rows, behind
            // the two of schema.sql.
            try await scene.database.execute(
                """
                CREATE FUNCTION public.fill() RETURNS event_trigger LANGUAGE plpgsql AS $$
                DECLARE passes int := 1 + coalesce(
                    nullif(pg_catalog.current_setting('fill.passes', true), ''), '0')::int;
                BEGIN
                    IF pg_catalog.current_setting('application_name') <> 'reprise load' THEN RETURN; END IF;
                    PERFORM pg_catalog.set_config('fill.passes', passes::text, false);
                    IF passes < 3 THEN RETURN; END IF;
                    RAISE EXCEPTION 'could not extend file: No space left on device'
                        USING ERRCODE = '53100', HINT = 'Check free disk space.';
                END $$;
                CREATE EVENT TRIGGER fill ON ddl_command_start WHEN TAG IN ('CREATE INDEX')
                    EXECUTE FUNCTION public.fill()
                """
            )
            let outcome = try await reprise.run("rebuild shop")
            expect(
                outcome,
                exits: 5,
                saying: [
                    "No space left on device", "SQLSTATE: 53100", "What it had built is dropped.",
                    unchanged, "prune shop --keep 0",
                ]
            )
            let homes = try await scene.database.query(
                "SELECT FROM pg_namespace WHERE nspname = 'shop__g2'"
            )
            #expect(homes.rows.isEmpty)
        }
    }

    @Test(
        "C5: a command that waits for a lock on the bookkeeping names who holds it, and ends with 75",
        arguments: ["run", "generation", "session_lock", "migration"]
    )
    func lockedBookkeeping(table: String) async throws {
        try await withShop { reprise, scene in
            var reprise = reprise
            // SIGKILL by timeout(1) is a command that did not end.
            reprise.launcher = ["timeout", "-s", "KILL", "60"]
            try await scene.database.withConnection { holder in
                try await holder.execute(
                    "BEGIN; LOCK TABLE reprise.\(table) IN ACCESS EXCLUSIVE MODE"
                )
                for line in ["status shop", "rebuild shop", "prune shop"] {
                    let outcome = try await reprise.run(line)
                    expect(
                        outcome,
                        exits: 75,
                        saying: [
                            "pid \(holder.backendPID)", unchanged, "run 'reprise \(line)' again",
                        ]
                    )
                }
            }
            expect(try await reprise.run("rebuild shop"), exits: 0)
        }
    }

    private func withShop(
        _ body: @Sendable (RepriseProcess, RebuildScene) async throws -> Void
    ) async throws {
        try await withRebuildScene { scene in
            try scene.appendShop(events: 500, seed: 8)
            let reprise = RepriseProcess(scene)
            expect(try await reprise.run("rebuild shop"), exits: 0)
            try await body(reprise, scene)
        }
    }
}
