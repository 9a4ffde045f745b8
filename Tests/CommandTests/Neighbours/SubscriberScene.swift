import Foundation
import Postgres
import TestSupport
import Testing

/// A rebuilt shop, and another cluster that subscribes to it.
struct SubscriberScene {
    let shop: RebuildScene
    /// The subscriber's database.
    let copy: ScratchDatabase
    let reprise: RepriseProcess

    /// Runs `body` with a publisher whose tables stand at 300 events, and a subscriber that has tables of
    /// the same names and no subscription.
    static func with(
        _ body: (SubscriberScene) async throws -> Void
    ) async throws {
        try await with { scene, _ in try await body(scene) }
    }

    /// The same, with the publisher's server.
    static func with(
        _ body: (SubscriberScene, PrivateServer) async throws -> Void
    ) async throws {
        let logical = ["wal_level = logical"]
        try await PrivateServer.with(settings: logical) { server in
            try await server.withScene { shop in
                try shop.appendShop(events: 300, seed: 11)
                let reprise = RepriseProcess(shop)
                expect(try await reprise.run("rebuild shop"), exits: 0)
                try await shop.database.execute(
                    "CREATE TABLE public.app (id int PRIMARY KEY); INSERT INTO public.app VALUES (1)"
                )
                try await server.withNeighbour(settings: logical) { neighbour in
                    let copy = neighbour.postgres
                    let scene = SubscriberScene(shop: shop, copy: copy, reprise: reprise)
                    try await scene.copyShapes()
                    try await body(scene, server)
                    // It would stop a shutdown of the publisher until it has everything.
                    try await copy.execute("ALTER SUBSCRIPTION s DISABLE")
                }
            }
        }
    }

    private func copyShapes() async throws {
        let dump = try await ChildProcess.run(
            "pg_dump",
            ["-s", "-n", "public", "--no-publications", "-d", shop.database.url]
        )
        try #require(dump.status == 0, "\(dump.standardError)")
        // The schema is there already.
        let load = try await ChildProcess.run(
            "psql",
            ["-X", "-q", "-d", copy.url],
            input: dump.standardOutput
        )
        try #require(load.status == 0, "\(load.standardError)")
    }

    /// Subscribes, and waits until the rows are there.
    func subscribe(to publication: String) async throws {
        try await copy.execute(
            "CREATE SUBSCRIPTION s CONNECTION \(SQLText.literal(shop.database.url)) "
                + "PUBLICATION \(publication)"
        )
        try await waitUntilCopied()
    }

    /// Waits until each table of the subscription was copied.
    func waitUntilCopied() async throws {
        try await copy.waitUntil(
            "the tables are copied",
            "SELECT WHERE NOT EXISTS (SELECT FROM pg_subscription_rel WHERE srsubstate <> 'r')"
        )
    }

    /// Waits until a change that is made last has arrived: all before it has then, too.
    func waitForApp(_ id: Int64) async throws {
        try await shop.database.query("INSERT INTO public.app VALUES ($1)", [.int(id)])
        try await copy.waitUntil(
            "the subscriber has the newest row",
            "SELECT FROM public.app WHERE id = $1",
            [.int(id)]
        )
    }

    /// Waits until a table has the same rows at both ends.
    ///
    /// - Parameters:
    ///   - table: The table.
    ///   - columns: Those that are published.
    ///   - filter: Which rows are.
    /// - Throws: What either server says; a failure when they stay unequal.
    func waitUntilEqual(
        _ table: String,
        columns: String = "*",
        where filter: String = "true"
    ) async throws {
        let digest = { (filter: String) in
            """
            SELECT coalesce(md5(string_agg(line, ',' ORDER BY line)), '') AS digest
            FROM (SELECT r::text AS line FROM (SELECT \(columns) FROM \(table) WHERE \(filter)) AS r)
                AS l
            """
        }
        let here = try await shop.database.query(digest(filter)).first
        try await copy.waitUntil(
            "\(table) is equal",
            "SELECT FROM (\(digest("true"))) AS d WHERE d.digest = $1",
            [.text(try #require(here).string("digest"))]
        )
    }
}
