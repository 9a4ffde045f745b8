internal import LedgerKit
internal import Ledgers
internal import Postgres
internal import ProjectionKit
internal import ShopProjection
internal import TestSupport
internal import Testing

@Suite("The shop by an independent route")
struct ShopIndependentRouteTests {
    @Test("set-based SQL over the events gives the rows that the reducer gives")
    func everyRow() async throws {
        let seed: UInt64 = 20_260_301
        print("the shop ledger of this test: 20,000 events, seed \(seed)")
        try await withRebuildScene { scene in
            try scene.appendShop(events: 20_000, seed: seed)
            _ = try await scene.rebuild(Shop.self)
            try await ShopRoute.lay(try events(of: scene), in: scene.database)
            #expect(try await scene.database.count("route.event") == 20_000)

            // A route that meets no removed line or cancelled order would compare little.
            for type in Self.types {
                let met = try await scene.database.query(
                    "SELECT count(*) AS events FROM route.event WHERE type = $1",
                    [.text(type)]
                )
                #expect(try #require(met.first).int("events") > 0, "\(type)")
            }
            for table in ShopRoute.tables {
                #expect(try await scene.database.count("public.\(table)") > 500)
                let difference = try await ShopRoute.difference(in: table, of: scene.database)
                #expect(difference == [], "\(table)")
            }
        }
    }

    @Test("the comparison sees one changed value, one missing row and one row too many")
    func comparisonCanFail() async throws {
        try await withRebuildScene { scene in
            try scene.appendShop(events: 500, seed: 7)
            _ = try await scene.rebuild(Shop.self)
            try await ShopRoute.lay(try events(of: scene), in: scene.database)
            try await scene.database.execute(
                """
                UPDATE public.customer_totals SET paid_cents = paid_cents + 1
                WHERE customer_id = (SELECT min(customer_id) FROM public.customer_totals);
                DELETE FROM public.order_line
                WHERE order_id = (SELECT max(order_id::text)::uuid FROM public.order_line);
                INSERT INTO public.order_summary SELECT gen_random_uuid(), customer_id, status,
                    line_count, total_cents, paid_cents, placed_at
                FROM public.order_summary LIMIT 1
                """
            )
            func differences(_ table: String) async throws -> Int {
                try await ShopRoute.difference(in: table, of: scene.database).count
            }
            #expect(try await differences("customer_totals") == 2)
            #expect(try await differences("order_line") > 0)
            #expect(try await differences("order_summary") == 1)
        }
    }

    /// Every event, as it is read through the ledger.
    private func events(of scene: RebuildScene) throws -> [ShopRoute.Events] {
        let ledger: any Ledger = try scene.ledger()
        var pieces: [ShopRoute.Events] = []
        try ledger.withReader(of: PositionSpan(through: #require(try ledger.safePosition()))) {
            let batch = EventBatch()
            while try $0.fill(batch) {
                var piece = ShopRoute.Events()
                batch.forEach { event in
                    piece.add(event.time.microseconds, event.type.name, event.payload.json)
                }
                pieces.append(piece)
            }
        }
        return pieces
    }

    private static let types = [
        "CustomerRegistered", "CustomerMoved", "OrderPlaced", "LineAdded", "LineRemoved",
        "OrderPaid", "OrderShipped", "OrderCancelled",
    ]
}
