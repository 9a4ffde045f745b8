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
                    // An index whose expression takes long for each row that is written.
                    try await scene.database.execute(
                        """
                        CREATE FUNCTION public.slow(v bigint) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS
                            $$BEGIN RETURN v; END$$;
                        CREATE INDEX slowly ON public.order_summary (public.slow(customer_id));
                        CREATE OR REPLACE FUNCTION public.slow(v bigint) RETURNS bigint LANGUAGE plpgsql
                            IMMUTABLE AS $$BEGIN PERFORM pg_catalog.pg_sleep(30); RETURN v; END$$
                        """
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
