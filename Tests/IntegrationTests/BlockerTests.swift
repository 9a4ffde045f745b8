import Postgres
import ReadModels
import Rebuilder
import TestSupport
import Testing

@Suite("Sessions that block a cut-over")
struct BlockerTests {
    private static func patience(
        _ policy: CutOverPatience.BlockerPolicy,
        after: Double = 0.1,
        deadline: Double = 30
    ) -> CutOverPatience {
        var patience = CutOverPatience(deadline: deadline)
        patience.blockers = policy
        patience.blockersAfter = after
        return patience
    }

    @Test("a statement that blocks for too long is cancelled, and its session goes on")
    func cancelled() async throws {
        try await withBuiltTally { scene in
            try await scene.database.withConnection { blocker in
                let blocking = Task {
                    try await blocker.query("SELECT count(*), pg_sleep(600) FROM public.tally")
                }
                try await scene.database.waitUntil(
                    "the blocker holds its lock",
                    "SELECT FROM pg_locks WHERE pid = $1 AND relation = 'public.tally'::regclass",
                    [.int(Int64(blocker.backendPID))]
                )
                let result = try await scene.control(Tally.self).swap(
                    patience: Self.patience(.cancel)
                )
                #expect(result.generation == 2)
                let signalled = try #require(result.signalled.first)
                #expect(signalled.hasPrefix("cancelled: pid \(blocker.backendPID), "))
                #expect(signalled.contains("active for "))
                let error = await #expect(throws: ServerError.self) { _ = try await blocking.value }
                #expect(error?.sqlState == "57014")
                #expect(try await blocker.query("SELECT 1 AS one").first?.int("one") == 1)
            }
        }
    }

    @Test("a session that is idle in its transaction is ended, but never cancelled")
    func terminated() async throws {
        try await withBuiltTally { scene in
            try await scene.database.withConnection { blocker in
                try await blocker.execute("BEGIN; SELECT FROM public.tally")
                let refusal = await #expect(throws: ReadModelError.self) {
                    _ = try await scene.control(Tally.self).swap(
                        patience: Self.patience(.cancel, after: 0, deadline: 0.3)
                    )
                }
                #expect(
                    String(describing: refusal).contains(
                        "there is no statement to cancel; ending the session would help"
                    )
                )
                let result = try await scene.control(Tally.self).swap(
                    patience: Self.patience(.terminate)
                )
                #expect(result.generation == 2)
                #expect(
                    result.signalled.first?.hasPrefix("ended: pid \(blocker.backendPID), ") == true
                )
                await #expect(throws: ConnectionError.self) {
                    try await blocker.execute("SELECT 1")
                }
            }
        }
    }

    @Test("whoever keeps the checkpoint locked is signalled as well")
    func checkpoint() async throws {
        try await withBuiltTally { scene in
            try await scene.database.withConnection { projector in
                try await projector.execute(
                    "BEGIN; SELECT FROM reprise.checkpoint WHERE projection = 'tally' FOR UPDATE"
                )
                let result = try await scene.control(Tally.self).swap(
                    patience: Self.patience(.terminate)
                )
                #expect(result.generation == 2)
                #expect(
                    result.signalled.first?.contains("pid \(projector.backendPID), ") == true
                )
                // Nobody had to queue for a lock on the tables.
                #expect(result.longestFailedWait == 0)
            }
        }
    }

    @Test(
        "a session that may not be signalled is left alone, and the reason is told",
        arguments: [
            ("", "its kind is shown to members of pg_read_all_stats only"),
            ("GRANT pg_read_all_stats TO %", "this role may not signal it"),
        ]
    )
    func notPermitted(grant: String, reason: String) async throws {
        try await withRebuildScene { scene in
            let role = "\(scene.database.name)_rebuilder"
            try await scene.database.execute(
                """
                CREATE ROLE \(role);
                GRANT CREATE ON DATABASE \(scene.database.name) TO \(role);
                GRANT ALL ON SCHEMA public TO \(role);
                \(grant.replacing("%", with: role))
                """
            )
            let asRole = RebuildScene(
                database: scene.database,
                ledgerPath: scene.ledgerPath,
                conninfo: "\(scene.database.url) options='-c role=\(role)'"
            )
            let outcome = await Result { try await blocked(asRole) }
            try await scene.database.execute(
                "DROP OWNED BY \(role) CASCADE; DROP ROLE \(role)"
            )
            let text = try outcome.get()
            #expect(text.contains(reason))
        }
    }

    /// What a cut-over says that is blocked to its deadline.
    private func blocked(_ scene: RebuildScene) async throws -> String {
        try await makeBuiltTally(in: scene)
        return try await scene.database.withConnection { blocker in
            try await blocker.execute("BEGIN; SELECT FROM public.tally")
            let error = await #expect(throws: ReadModelError.self) {
                _ = try await scene.control(Tally.self).swap(
                    patience: Self.patience(.terminate, after: 0, deadline: 0.3)
                )
            }
            try await blocker.execute("COMMIT")
            return String(describing: error)
        }
    }
}

extension Result where Success: Sendable, Failure == any Error {
    /// What a piece of work came to, to be looked at when things have been put in order.
    fileprivate init(_ work: () async throws -> Success) async {
        do {
            self = .success(try await work())
        } catch {
            self = .failure(error)
        }
    }
}
