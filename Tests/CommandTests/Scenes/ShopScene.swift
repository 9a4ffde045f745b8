import Postgres
import TestSupport

extension RebuildScene {
    /// The generation of the shop that is live; nil when there is none.
    func liveGeneration() async throws -> Int64? {
        try await database.query(
            "SELECT generation FROM reprise.live WHERE projection = 'shop'"
        ).first?.int("generation")
    }

    /// Has each load of the shop wait for the advisory lock 4711.
    func holdLoads() async throws {
        try await database.execute(
            """
            CREATE FUNCTION public.wait_here(bigint) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
                IF pg_catalog.current_setting('application_name') LIKE 'reprise load%' THEN
                    PERFORM pg_catalog.pg_advisory_xact_lock_shared(4711);
                END IF;
                RETURN true;
            END $$;
            ALTER TABLE public.order_line ADD CHECK (public.wait_here(quantity));
            """
        )
    }
}
