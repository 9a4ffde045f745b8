import Ledgers
import ProjectionKit
import ReadModels
import Rebuilder
import ShopProjection
import TestSupport
import Testing

private let shopTables = ["order_summary", "order_line", "customer_totals"]

@Suite("Rebuild")
struct RebuildTests {
    @Test("the first rebuild makes the tables, the second replaces them by the same rows")
    func firstAndSecond() async throws {
        try await withRebuildScene { scene in
            try scene.appendShop(events: 20_000, seed: 1)
            let first = try await scene.rebuild(Shop.self)
            #expect(first.generation == 1)
            #expect(first.isLive)
            #expect(first.events == 20_000)
            var before: [[String]] = []
            for table in shopTables { before.append(try await scene.rows(of: "public.\(table)")) }
            #expect(before.allSatisfy { !$0.isEmpty })

            let second = try await scene.rebuild(Shop.self)
            #expect(second.generation == 2)
            #expect(second.previousGeneration == 1)
            for (table, rows) in zip(shopTables, before) {
                #expect(try await scene.rows(of: "public.\(table)") == rows)
                #expect(try await scene.rows(of: "shop__g1.\(table)") == rows)
            }
        }
    }

    @Test("a truncate gives the rows that a swap gives, and keeps the OIDs")
    func truncate() async throws {
        try await withRebuildScene { scene in
            try scene.appendShop(events: 5_000, seed: 2)
            _ = try await scene.rebuild(Shop.self)
            let oids = try await scene.rows(of: Self.oids)
            try scene.appendShop(events: 5_000, seed: 3)
            var options = RebuildOptions()
            options.strategy = .truncate
            let report = try await scene.rebuild(Shop.self, options: options)
            #expect(report.strategy == "truncate")
            #expect(try await scene.rows(of: Self.oids) == oids)
            var truncated: [[String]] = []
            for table in shopTables {
                truncated.append(try await scene.rows(of: "public.\(table)"))
            }
            _ = try await scene.rebuild(Shop.self)
            for (table, rows) in zip(shopTables, truncated) {
                #expect(try await scene.rows(of: "public.\(table)") == rows)
            }
            #expect(try await scene.rows(of: Self.oids) != oids)
        }
    }

    private static let oids = """
        (SELECT c.relname, c.oid FROM pg_catalog.pg_class AS c
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r')
        """

    @Test("a rollback brings the old rows back, and a swap the new ones")
    func rollback() async throws {
        try await withRebuildScene { scene in
            try scene.appendShop(events: 4_000, seed: 4)
            _ = try await scene.rebuild(Shop.self)
            let old = try await scene.rows(of: "public.order_summary")
            try scene.appendShop(events: 4_000, seed: 5)
            _ = try await scene.rebuild(Shop.self)
            let new = try await scene.rows(of: "public.order_summary")
            #expect(old != new)

            let back = try await scene.control(Shop.self).rollback(patience: CutOverPatience())
            #expect(back.generation == 1)
            #expect(try await scene.rows(of: "public.order_summary") == old)
            let forth = try await scene.control(Shop.self).swap(patience: CutOverPatience())
            #expect(forth.generation == 2)
            #expect(try await scene.rows(of: "public.order_summary") == new)
        }
    }
}
