import Foundation
import Postgres
import TestSupport
import Testing

@Suite("A database that another one subscribes to")
struct SubscriberTests {
    /// How a table is published, and which columns and rows of it a subscriber has.
    struct Way: CustomTestStringConvertible {
        let publication: String
        var columns = "*"
        var filter = "true"
        /// What of the publication stays when public.order_summary is taken out of it.
        let rest: String

        var testDescription: String { publication }
    }

    private static let shopSchema = URL(filePath: #filePath).deletingLastPathComponent()
        .appending(path: "../../../Projections/Shop/schema.sql")

    private static let ways = [
        Way(
            publication:
                "FOR TABLE public.app, public.order_summary, public.order_line, public.customer_totals",
            rest: "FOR TABLE public.app"
        ),
        Way(
            publication:
                "FOR TABLE public.app, public.order_summary (order_id, status, customer_id) "
                + "WHERE (customer_id % 2 = 0) WITH (publish = 'insert, truncate')",
            columns: "order_id, status, customer_id",
            filter: "customer_id % 2 = 0",
            rest: "FOR TABLE public.app"
        ),
        Way(
            publication: "FOR TABLES IN SCHEMA public",
            rest: "FOR TABLE public.app"
        ),
    ]

    /// Publishes, and subscribes with tables of the columns that are published.
    private func subscribe(_ scene: SubscriberScene, by way: Way) async throws {
        try await scene.shop.database.execute("CREATE PUBLICATION p \(way.publication)")
        if way.columns != "*" {
            try await scene.copy.execute(
                """
                DROP TABLE public.order_summary;
                CREATE TABLE public.order_summary (order_id uuid PRIMARY KEY, status text,
                    customer_id bigint)
                """
            )
        }
        try await scene.subscribe(to: "p")
    }

    @Test(
        "E1: a truncate sends each subscriber every row, also to one of some columns and rows",
        arguments: ways
    )
    func truncate(way: Way) async throws {
        try await SubscriberScene.with { scene in
            try await subscribe(scene, by: way)
            try await scene.waitUntilEqual(
                "public.order_summary",
                columns: way.columns,
                where: way.filter
            )
            try scene.shop.appendShop(events: 200, seed: 12)
            expect(try await scene.reprise.run("rebuild shop --strategy truncate"), exits: 0)
            try await scene.waitForApp(2)
            try await scene.waitUntilEqual(
                "public.order_summary",
                columns: way.columns,
                where: way.filter
            )
        }
    }

    @Test(
        "E7: a swap of published tables is refused, and after the recipe a subscriber has every row",
        arguments: ways
    )
    func recipe(way: Way) async throws {
        try await SubscriberScene.with { scene in
            try await subscribe(scene, by: way)
            try scene.shop.appendShop(events: 200, seed: 12)
            expect(
                try await scene.reprise.run("rebuild shop"),
                exits: 3,
                saying: [
                    "publication p of public.order_summary", "stops for all its tables", unchanged,
                ]
            )
            // docs/guide/your-server/subscribers.md
            try await scene.shop.database.execute("CREATE PUBLICATION rest \(way.rest)")
            try await scene.copy.execute("ALTER SUBSCRIPTION s SET PUBLICATION rest")
            expect(try await scene.reprise.run("rebuild shop --republish"), exits: 0)
            expect(try await scene.reprise.run("follow shop --until-caught-up"), exits: 0)
            try await scene.waitForApp(2)
            try await scene.copy.execute(
                "TRUNCATE public.order_summary, public.order_line, public.customer_totals"
            )
            try await scene.copy.execute("ALTER SUBSCRIPTION s SET PUBLICATION p")
            try await scene.waitUntilCopied()
            try await scene.shop.database.execute("DROP PUBLICATION rest")
            try await scene.waitForApp(3)
            try await scene.waitUntilEqual(
                "public.order_summary",
                columns: way.columns,
                where: way.filter
            )
            guard way.columns == "*" else { return }
            try await scene.waitUntilEqual("public.order_line")
            try await scene.waitUntilEqual("public.customer_totals")
        }
    }

    @Test(
        "E7: without the recipe a key that the old rows have stops the subscription, as the plan says"
    )
    func collision() async throws {
        try await SubscriberScene.with { scene in
            try await scene.shop.database.execute(
                "CREATE PUBLICATION p FOR TABLE public.app, public.order_line"
            )
            try await scene.subscribe(to: "p")
            let plan = try await scene.reprise.run("plan shop --republish")
            #expect(plan.standardOutput.contains("stops for all its tables"))
            try await scene.copy.execute(
                """
                INSERT INTO public.order_line SELECT 'f0000000-0000-0000-0000-000000000000', 1, '', 1, 1, now()
                """
            )
            expect(try await scene.reprise.run("rebuild shop --republish"), exits: 0)
            try await scene.shop.database.execute(
                """
                INSERT INTO public.order_line SELECT 'f0000000-0000-0000-0000-000000000000', 1, '', 1, 1, now();
                INSERT INTO public.app VALUES (2)
                """
            )
            try await scene.copy.waitUntil(
                "the subscription has stopped",
                "SELECT FROM pg_stat_subscription_stats WHERE apply_error_count > 0"
            )
            let rows = try await scene.copy.query("SELECT FROM public.app WHERE id = 2")
            #expect(rows.rows.isEmpty)
        }
    }

    @Test("E1: a publication of all tables is refused before a table is made, and the advice helps")
    func allTables() async throws {
        try await PrivateServer.with(settings: ["wal_level = logical"]) { server in
            try await server.withScene { shop in
                try shop.appendShop(events: 300, seed: 11)
                try await shop.database.execute(
                    """
                    CREATE TABLE public.app (id int PRIMARY KEY);
                    CREATE PUBLICATION "all" FOR ALL TABLES WITH (publish = 'insert, update');
                    COMMENT ON PUBLICATION "all" IS 'the warehouse''s'
                    """
                )
                let reprise = RepriseProcess(shop)
                try await server.withNeighbour { neighbour in
                    let copy = neighbour.postgres
                    let scene = SubscriberScene(shop: shop, copy: copy, reprise: reprise)
                    try await copy.execute("CREATE TABLE public.app (id int PRIMARY KEY)")
                    let alone = try await reprise.run("plan shop")
                    expect(alone, exits: 0)
                    #expect(alone.standardOutput.contains("none at the moment"))
                    try await scene.subscribe(to: #""all""#)
                    for line in [
                        "rebuild shop", "rebuild shop --strategy truncate", "follow shop",
                        "prune shop",
                    ] {
                        expect(
                            try await reprise.run(line),
                            exits: 3,
                            saying: [#"publication "all""#, "slot s", "stops for all its tables"]
                        )
                    }
                    let schemas = try await shop.database.query(
                        "SELECT FROM pg_namespace WHERE nspname = 'reprise'"
                    )
                    #expect(schemas.rows.isEmpty)
                    let plan = try await reprise.run("plan shop")
                    expect(plan, exits: 3)
                    // What it advises is typed as it is.
                    let advised = try #require(
                        plan.standardOutput.firstMatch(of: /(BEGIN; DROP PUBLICATION .*? COMMIT)\./)
                    )
                    try await shop.database.execute(String(advised.1))
                    let comment = try await shop.database.query(
                        "SELECT FROM pg_publication WHERE obj_description(oid) = 'the warehouse''s'"
                    )
                    #expect(comment.rows.count == 1)
                    // The tables are new there, for which there is a recipe.
                    expect(
                        try await reprise.run("rebuild shop"),
                        exits: 3,
                        saying: ["sends what is new there", "subscribers.md"]
                    )
                    try await scene.waitForApp(7)
                    try await copy.execute("ALTER SUBSCRIPTION s DISABLE")
                }
            }
        }
    }

    @Test(
        "E1: new tables in a schema that is published are refused, and after the recipe a subscriber has them"
    )
    func newTables() async throws {
        try await PrivateServer.with(settings: ["wal_level = logical"]) { server in
            try await server.withScene { shop in
                try shop.appendShop(events: 300, seed: 11)
                try await shop.database.execute(
                    """
                    CREATE TABLE public.app (id int PRIMARY KEY);
                    CREATE PUBLICATION p FOR TABLES IN SCHEMA public
                    """
                )
                let reprise = RepriseProcess(shop)
                try await server.withNeighbour { neighbour in
                    let copy = neighbour.postgres
                    let scene = SubscriberScene(shop: shop, copy: copy, reprise: reprise)
                    try await copy.execute("CREATE TABLE public.app (id int PRIMARY KEY)")
                    try await scene.subscribe(to: "p")
                    for line in ["plan shop", "rebuild shop"] {
                        let refused = try await reprise.run(line)
                        expect(refused, exits: 3)
                        let said = refused.standardOutput + refused.standardError
                        #expect(said.contains("order_summary"))
                        #expect(said.contains("stops for all its tables"))
                    }
                    // docs/guide/your-server/subscribers.md
                    try await copy.execute(
                        "SET search_path = public; "
                            + String(contentsOf: Self.shopSchema, encoding: .utf8)
                    )
                    expect(try await reprise.run("rebuild shop --publish-new-tables"), exits: 0)
                    expect(try await reprise.run("follow shop --until-caught-up"), exits: 0)
                    try await copy.execute("ALTER SUBSCRIPTION s REFRESH PUBLICATION")
                    try await scene.waitUntilCopied()
                    try await scene.waitForApp(2)
                    try await scene.waitUntilEqual("public.order_summary")
                    try await copy.execute("ALTER SUBSCRIPTION s DISABLE")
                }
            }
        }
    }

    @Test("E1: a standby of a younger server may have consumers that the primary does not know")
    func standby() async throws {
        guard try await ServerBuild.major() >= 16 else {
            return print("Left out: PostgreSQL 15 decodes on no standby.")
        }
        try await PrivateServer.with(settings: ["wal_level = logical"]) { server in
            try await server.withScene { scene in
                try scene.appendShop(events: 100, seed: 11)
                try await scene.database.execute("CREATE PUBLICATION p FOR ALL TABLES")
                try await server.withStandby { _ in
                    expect(
                        try await RepriseProcess(scene).run("rebuild shop"),
                        exits: 3,
                        saying: ["publication p", "a standby may have some", unchanged]
                    )
                }
            }
        }
    }

    @Test("E1: a slot that the server throws away, or is about to, is named with what is left")
    func slots() async throws {
        try await PrivateServer.with(
            settings: [
                "wal_level = logical", "max_slot_wal_keep_size = 64MB", "max_wal_size = 64MB",
                "min_wal_size = 32MB",
            ]
        ) { server in
            try await server.withScene { scene in
                try scene.appendShop(events: 100, seed: 11)
                try await scene.database.query(
                    "SELECT pg_create_logical_replication_slot('cdc', 'pgoutput')"
                )
                let reprise = RepriseProcess(scene)
                let before = try await reprise.run("plan shop")
                #expect(
                    before.standardOutput.contains("of new WAL behind (max_slot_wal_keep_size)")
                )
                for _ in 0..<8 {
                    try await scene.database.execute(
                        "CREATE TABLE public.w (id int); SELECT pg_switch_wal(); DROP TABLE public.w"
                    )
                }
                try await scene.database.execute("CHECKPOINT")
                let lost = try await reprise.run("plan shop")
                #expect(lost.standardOutput.contains("has thrown away WAL that it was to keep"))
            }
        }
    }

    @Test("E1: consumers that pass over tables they do not know are consented to, by flag or file")
    func consent() async throws {
        try await PrivateServer.with(settings: ["wal_level = logical"]) { server in
            try await server.withScene { shop in
                try shop.appendShop(events: 300, seed: 11)
                try await shop.database.execute(
                    """
                    CREATE PUBLICATION p FOR ALL TABLES
                    """
                )
                try await shop.database.query(
                    "SELECT pg_create_logical_replication_slot('cdc', 'pgoutput')"
                )
                let reprise = RepriseProcess(shop)
                expect(try await reprise.run("rebuild shop"), exits: 3, saying: ["slot cdc"])
                expect(try await reprise.run("rebuild shop --publish-new-tables"), exits: 0)
                let file = URL(filePath: "\(reprise.folder)/reprise.yaml")
                try Data("publish_new_tables: true\nrepublish: true\n".utf8).write(to: file)
                expect(try await reprise.run("rebuild shop"), exits: 0)
                let plan = try await reprise.run("plan shop")
                #expect(plan.standardOutput.contains("logical slot cdc, nobody reads it"))
                expect(
                    try await reprise.run("rebuild shop --no-publish-new-tables"),
                    exits: 3,
                    saying: ["publication p", unchanged]
                )
            }
        }
    }
}
