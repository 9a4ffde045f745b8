import Foundation
import Postgres
import ProjectionKit
import ReadModels
import Rebuilder
import TestSupport
import Testing

@Suite("Swaps under traffic", .serialized)
struct TrafficTests {
    /// Rounds of five swaps and one rollback: 20 of them where `make soak` asks for it.
    private static let rounds = isSoak ? 20 : 3
    private static let isSoak = ProcessInfo.processInfo.environment["REPRISE_TEST_SOAK"] != nil
    private static let patience = CutOverPatience(
        outageBudget: 200,
        deadline: 120,
        allowsOlder: true
    )

    /// What a reader may wait: the budget, and the time for which it can be off the processor, which
    /// is longer beside other tests.
    private static let longestWait: Duration = isSoak ? .milliseconds(1_200) : .seconds(3)

    private static let around = """
        CREATE VIEW s.va AS SELECT id, v FROM s.a;
        CREATE VIEW s.vb AS SELECT id, v FROM s.b;
        CREATE VIEW s.both AS SELECT va.v AS av, vb.v AS bv FROM s.vb JOIN s.va USING (id);
        """

    @Test("eight readers and two writers: no error, no mixed versions, no long wait")
    func traffic() async throws {
        try await withTwoGenerations { hazard in
            let log = try await withTraffic(on: hazard) {
                let control = hazard.scene.control(hazard.projection)
                for _ in 1...Self.rounds {
                    for generation in [2, 1, 2, 1, 2] {
                        _ = try await control.swap(to: generation, patience: Self.patience)
                    }
                    _ = try await control.rollback(patience: Self.patience)
                }
            }
            log.expectPeace(within: Self.longestWait)
            #expect(log.seen == ["one", "two"])
            let moves = try await hazard.number(
                "SELECT count(*) - 3 FROM reprise.swap"
            )
            #expect(moves == Self.rounds * 6)
        }
    }

    @Test("an idle transaction stops the swap among readers and writers, and is named")
    func blocker() async throws {
        try await withTwoGenerations { hazard in
            let log = try await withTraffic(on: hazard) {
                let control = hazard.scene.control(hazard.projection)
                try await hazard.database.withConnection { idle in
                    try await idle.execute("BEGIN; SELECT FROM s.va")
                    let error = await #expect(throws: ReadModelError.self) {
                        _ = try await control.swap(
                            to: 2,
                            patience: CutOverPatience(outageBudget: 200, deadline: 2)
                        )
                    }
                    guard case .cutOverBlocked(_, _, let blockers, _, _) = error else {
                        Issue.record("got \(error as Any)")
                        return
                    }
                    #expect(blockers.contains { $0.contains("pid \(idle.backendPID)") })
                    try await hazard.expect("SELECT v FROM s.a", gives: "one")
                    try await idle.execute("COMMIT")
                }
                _ = try await control.swap(to: 2, patience: Self.patience)
            }
            log.expectPeace(within: Self.longestWait)
            #expect(log.seen == ["one", "two"])
        }
    }

    /// Runs `body` with generation 1, whose rows say `one`, live and generation 2, whose rows say
    /// `two`, retired.
    private func withTwoGenerations(
        _ body: (HazardScene) async throws -> Void
    ) async throws {
        try await withHazard(
            .declared,
            of: CountedPair.self,
            table: CountedPair.tables,
            rows: "INSERT INTO s.a VALUES (1, 'old', 0); INSERT INTO s.b VALUES (1, 'old', 0)",
            setUp: Self.around,
            events: [Live.event(1, "one")]
        ) { hazard in
            try await hazard.rebuild()
            try hazard.scene.append([Live.event(1, "two")])
            try await hazard.rebuild()
            try await hazard.rollback()
            try await body(hazard)
        }
    }
}

// MARK: Readers and writers

/// What one session met.
private struct TrafficLog: Sendable {
    var transactions = 0
    var errors: [String] = []
    var mixed: [String] = []
    var longest: Duration = .zero
    var seen: Set<String> = []

    mutating func add(_ other: TrafficLog) {
        transactions += other.transactions
        errors += other.errors
        mixed += other.mixed
        longest = max(longest, other.longest)
        seen.formUnion(other.seen)
    }

    func expectPeace(
        within limit: Duration,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        print("traffic: \(transactions) transactions, longest wait \(longest)")
        #expect(errors == [], sourceLocation: sourceLocation)
        #expect(mixed == [], sourceLocation: sourceLocation)
        #expect(longest < limit, sourceLocation: sourceLocation)
        #expect(transactions > 100, sourceLocation: sourceLocation)
    }
}

/// Says when sessions are to end.
private actor ClosingTime {
    private(set) var isOver = false

    func call() { isOver = true }
}

/// One kind of transaction; its queries return the marks of the generation they saw.
private struct Visit: Sendable {
    var begin = "BEGIN"
    /// What is sent once, when the session begins.
    var prepare: String?
    let queries: [String]

    /// Each takes the two tables, or what stands over them, in an order of its own.
    static let all = [
        Visit(queries: ["SELECT v FROM s.a", "SELECT v FROM s.b"]),
        Visit(queries: ["SELECT v FROM s.b", "SELECT v FROM s.a"]),
        Visit(queries: ["SELECT v FROM s.va", "SELECT v FROM s.vb"]),
        Visit(queries: ["SELECT av FROM s.both", "SELECT v FROM s.va"]),
        Visit(queries: ["SELECT bv || '' FROM s.both", "SELECT v FROM s.a", "SELECT v FROM s.b"]),
        Visit(
            prepare: "PREPARE pa AS SELECT v FROM s.a; PREPARE pb AS SELECT v, * FROM s.vb",
            queries: ["EXECUTE pb", "EXECUTE pa"]
        ),
        Visit(queries: ["SELECT CASE a.n WHEN b.n THEN a.v END FROM s.b JOIN s.a USING (id, v)"]),
        Visit(
            begin: "BEGIN ISOLATION LEVEL REPEATABLE READ",
            queries: ["SELECT av FROM s.both", "SELECT v FROM s.vb", "SELECT v FROM s.a"]
        ),
    ]

    /// A projector: the checkpoint row first, then rows of both tables, in one transaction.
    static let projector = Visit(
        queries: [
            "SELECT NULL FROM reprise.checkpoint WHERE projection = 'pair' FOR UPDATE",
            "UPDATE s.a SET n = n + 1 WHERE id = 1 RETURNING v",
            "UPDATE s.b SET n = n + 1 WHERE id = 1 RETURNING v",
        ]
    )

    /// Repeats the transaction until closing time: pauses of 0 to 40 ms in it, of 0 to 150 ms
    /// between two.
    func repeats(
        on database: ScratchDatabase,
        seed: UInt64,
        until closing: ClosingTime
    ) async -> TrafficLog {
        var log = TrafficLog()
        var random = SeededRandom(seed: seed)
        do {
            try await database.withConnection { connection in
                if let prepare { try await connection.execute(prepare) }
                while await !closing.isOver {
                    try await connection.execute(begin)
                    var marks: [String?] = []
                    for query in queries {
                        let start = ContinuousClock.now
                        let row = try await connection.execute(query).first
                        log.longest = max(log.longest, ContinuousClock.now - start)
                        // The checkpoint has no mark.
                        if !query.hasSuffix("FOR UPDATE") {
                            marks.append(row?[0])
                        }
                        let pause = Double.random(
                            in: 0...0.04 / Double(queries.count),
                            using: &random
                        )
                        try await connection.execute("SELECT pg_sleep(\(pause))")
                    }
                    try await connection.execute("COMMIT")
                    log.transactions += 1
                    log.add(marks: marks, of: self)
                    try await Task.sleep(
                        for: .milliseconds(Int.random(in: 0...150, using: &random))
                    )
                }
            }
        } catch {
            log.errors.append("\(queries): \(error)")
        }
        return log
    }
}

extension TrafficLog {
    fileprivate mutating func add(marks: [String?], of visit: Visit) {
        let marks = marks.map { $0 ?? "nothing" }
        if Set(marks).count == 1, let mark = marks.first, ["one", "two"].contains(mark) {
            seen.insert(mark)
        } else {
            mixed.append("\(visit.queries): \(marks)")
        }
    }
}

/// Runs `body` while eight readers and two projectors work, and gives what they met.
private func withTraffic(
    on hazard: HazardScene,
    _ body: () async throws -> Void
) async throws -> TrafficLog {
    let closing = ClosingTime()
    let seed = UInt64.random(in: 1...999_999)
    print("traffic: seed \(seed)")
    let sessions = Visit.all + [Visit.projector, Visit.projector]
    async let met = withTaskGroup(of: TrafficLog.self) { group in
        for (index, visit) in sessions.enumerated() {
            group.addTask {
                await visit.repeats(
                    on: hazard.database,
                    seed: seed &+ UInt64(index),
                    until: closing
                )
            }
        }
        return await group.reduce(into: TrafficLog()) { $0.add($1) }
    }
    do {
        try await body()
    } catch {
        await closing.call()
        _ = await met
        throw error
    }
    await closing.call()
    return await met
}

/// Two tables that change together, with a number that the live projector writes alone.
private struct CountedPair: Projection {
    struct Half: TableRow {
        var id: Int32
        var v: String
        var key: Int32 { id }

        static let table = TableDefinition<Half>("a", key: "id") {
            Column("id", \.id)
            Column("v", \.v)
        }
    }

    struct OtherHalf: TableRow {
        var id: Int32
        var v: String
        var key: Int32 { id }

        static let table = TableDefinition<OtherHalf>("b", key: "id") {
            Column("id", \.id)
            Column("v", \.v)
        }
    }

    static let name = "pair"
    static var schema: String? { GivenSQL.schema }
    static let tables = """
        CREATE TABLE a (id int PRIMARY KEY, v text NOT NULL, n int NOT NULL DEFAULT 0);
        CREATE TABLE b (id int PRIMARY KEY, v text NOT NULL, n int NOT NULL DEFAULT 0);
        """
    var halves = Table<Half>()
    var otherHalves = Table<OtherHalf>()

    mutating func reduce(_ event: borrowing Event) throws {
        let id = try event.payload.int32("id")
        let v = try event.payload.string("v")
        halves[id] = Half(id: id, v: v)
        otherHalves[id] = OtherHalf(id: id, v: v)
    }
}
