import Foundation
import Postgres
import TestSupport
import Testing

@Suite("Beside a subscriber, a synchronous standby with readers, and a pooled application")
struct NeighbourhoodTests {
    private static let isLong = ProcessInfo.processInfo.environment["REPRISE_TEST_SOAK"] != nil

    /// Fails where a reader finds no row, or rows of two generations.
    private static let reading = """
        SELECT 1 / (count(*) > 0)::int FROM order_summary;
        SELECT 1 / (NOT EXISTS (SELECT FROM order_line AS l LEFT JOIN order_summary AS s USING (order_id)
            WHERE s.order_id IS NULL))::int;
        """

    @Test(
        "E1, E2, E4: rebuilds of all strategies: the subscriber is equal, and nobody gets an error"
    )
    func rebuilds() async throws {
        let rounds = Self.isLong ? 50 : 2
        try await SubscriberScene.with { scene, server in
            try await scene.shop.database.execute(
                """
                CREATE PUBLICATION p FOR TABLE public.app, public.order_summary, public.order_line,
                    public.customer_totals;
                CREATE PUBLICATION rest FOR TABLE public.app;
                CREATE TABLE public.note (at timestamptz DEFAULT now(), text text)
                """
            )
            try await scene.subscribe(to: "p")
            // It tells of its readers every second, for which each cut-over waits.
            let settings = ["hot_standby_feedback = on", "wal_receiver_status_interval = 1s"]
            try await server.withStandby(settings: settings) { standby in
                // A synchronous commit of the application waits for the standby, and never for long.
                try await scene.shop.demandStandbys("walreceiver")
                try await server.withPooler(.session, size: 12) { address in
                    let application = "\(address) dbname=scene"
                    let there =
                        "\(standby.conninfo.replacing("dbname=postgres", with: "")) dbname=scene"
                    let complaints = try await scene.reading(
                        from: [
                            (application, Self.reading + "INSERT INTO note (text) VALUES ('x');"),
                            (there, Self.reading),
                        ]
                    ) {
                        for round in 0..<rounds {
                            try await rebuild(round, scene, through: application)
                        }
                    }
                    #expect(complaints == [])
                }
                try await scene.shop.demandStandbys("")
            }
        }
    }

    /// One rebuild by truncate, then one by swap with what a subscriber needs for it.
    private func rebuild(
        _ round: Int,
        _ scene: SubscriberScene,
        through application: String
    ) async throws {
        var reprise = scene.reprise
        reprise.databaseURL = application
        try scene.shop.appendShop(events: 100, seed: UInt64(100 + round))
        let patience = "--deadline 120 --outage-budget 5000"
        expect(try await reprise.run("rebuild shop --strategy truncate \(patience)"), exits: 0)
        try await expectEqual(scene, 10 + Int64(4 * round))
        try await scene.copy.execute("ALTER SUBSCRIPTION s SET PUBLICATION rest")
        expect(try await reprise.run("rebuild shop --republish \(patience)"), exits: 0)
        try await scene.copy.execute(
            "TRUNCATE public.order_summary, public.order_line, public.customer_totals"
        )
        try await scene.copy.execute("ALTER SUBSCRIPTION s SET PUBLICATION p")
        try await scene.waitUntilCopied()
        try await expectEqual(scene, 11 + Int64(4 * round))
        expect(try await reprise.run("follow shop --until-caught-up"), exits: 0)
        try await expectEqual(scene, 12 + Int64(4 * round))
    }

    private func expectEqual(_ scene: SubscriberScene, _ mark: Int64) async throws {
        try await scene.waitForApp(mark)
        for table in ["order_summary", "order_line", "customer_totals"] {
            try await scene.waitUntilEqual("public.\(table)")
        }
    }
}

extension SubscriberScene {
    /// Runs `body` while clients repeat statements.
    ///
    /// - Parameters:
    ///   - clients: Where each connects, and what it repeats.
    ///   - body: What happens meanwhile.
    /// - Returns: What the clients complained of.
    /// - Throws: What `body` throws.
    func reading(
        from clients: [(address: String, script: String)],
        _ body: () async throws -> Void
    ) async throws -> [String] {
        guard let client = clients.first else {
            try await body()
            return []
        }
        let file = "\(reprise.folder)/client-\(clients.count).sql"
        try Data(client.script.utf8).write(to: URL(filePath: file))
        let (rest, outcome) = try await ChildProcess.withRunning(
            "pgbench",
            ["-n", "-c", "2", "-T", "7200", "-P", "1", "-f", file, client.address]
        ) { bench in
            try await bench.waitForText("progress: ")
            let rest = try await reading(from: Array(clients.dropFirst()), body)
            bench.signal(SIGTERM)
            return rest
        }
        let lines = outcome.standardError.split(separator: "\n").map(String.init)
        return rest
            + lines.filter {
                $0.contains("ERROR") || $0.contains("aborted") || $0.contains("FATAL")
            }
    }
}
