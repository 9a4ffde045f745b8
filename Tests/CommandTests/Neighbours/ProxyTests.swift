import Foundation
import Postgres
import TestSupport
import Testing

@Suite("Through a proxy that ends silent connections")
struct ProxyTests {
    @Test(
        "E8: a rebuild whose statements are short works, and a long one that is cut off names the proxy"
    )
    func idleTimeout() async throws {
        try await PrivateServer.with { server in
            try await server.withScene { scene in
                try scene.appendShop(events: 300, seed: 5)
                try await server.withIdleProxy(endingAfter: 8) { address in
                    var reprise = RepriseProcess(scene)
                    reprise.databaseURL = "\(address) dbname=scene"
                    expect(try await reprise.run("rebuild shop"), exits: 0)
                    try await scene.database.execute(
                        """
                        CREATE FUNCTION public.slow(v text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS
                            $$BEGIN IF v <> 'none' THEN PERFORM pg_catalog.pg_sleep(0.5); END IF;
                            RETURN v; END$$;
                        ALTER TABLE public.order_summary ADD CHECK (public.slow('none') = 'none');
                        CREATE INDEX slowly ON public.order_summary (public.slow(carrier))
                            WHERE public.slow('none') <> 'none'
                        """
                    )
                    try await scene.database.execute(
                        "CREATE OR REPLACE FUNCTION public.slow(v text) RETURNS text LANGUAGE plpgsql "
                            + "IMMUTABLE AS $$BEGIN PERFORM pg_catalog.pg_sleep(60); RETURN v; END$$"
                    )
                    let outcome = try await reprise.run("rebuild shop --strategy truncate")
                    expect(
                        outcome,
                        exits: 75,
                        saying: [
                            "Lost the connection", "silent for", "a proxy or firewall in between",
                            unchanged,
                        ]
                    )
                }
            }
        }
    }
}
