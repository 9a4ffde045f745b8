import Foundation
import Ledgers
import ProjectionKit
import ReadModels
import Rebuilder
import TestSupport
import Testing

/// Keys that Swift and PostgreSQL may take for the same, or not.
@Suite("Keys on every way into the tables")
struct KeyTests {
    /// How the events come into the tables.
    enum Way: CaseIterable {
        case rebuild, copies, catchUp, resume, follow
    }

    private static func resolve(
        _ projection: any Projection.Type,
        _ first: [NewEvent],
        _ then: [NewEvent],
        by way: Way,
        in scene: RebuildScene
    ) async throws {
        try scene.append(first)
        var options = RebuildOptions()
        switch way {
        case .rebuild, .copies:
            try scene.append(then)
            options.foldCopies = way == .copies ? 3 : 1
            options.checksDeterminism = true
            _ = try await scene.rebuild(projection, options: options)
        case .catchUp:
            _ = try await scene.rebuild(projection) { progress in
                guard case .stage(.checking) = progress else { return }
                do { try scene.append(then) } catch { Issue.record(error) }
            }
        case .resume:
            options.swaps = false
            _ = try await scene.rebuild(projection, options: options)
            try scene.append(then)
            options.swaps = true
            options.resumes = true
            _ = try await scene.rebuild(projection, options: options)
        case .follow:
            _ = try await scene.rebuild(projection)
            try scene.append(then)
            var options = FollowOptions()
            options.endsAtEnd = true
            try await Follow(
                of: projection,
                from: try SQLiteLedger(path: scene.ledgerPath),
                into: scene.target,
                options: options
            ).run()
        }
    }

    private func rows(
        _ projection: any Projection.Type,
        _ first: [NewEvent],
        _ then: [NewEvent],
        by way: Way
    ) async throws -> [String] {
        try await withRebuildScene { scene in
            try await Self.resolve(projection, first, then, by: way, in: scene)
            return try await scene.rows(of: "public.word")
        }
    }

    private static let composed = "caf\u{e9}"
    private static let decomposed = "cafe\u{301}"
    /// The same length and, to Swift, the same text.
    private static let marks = ["a\u{323}\u{307}", "a\u{307}\u{323}"]

    @Test("O5: the bytes of a text decide which row it is", arguments: Way.allCases)
    func texts(way: Way) async throws {
        for projection in [Words.self, WordPairs.self] as [any Projection.Type] {
            let rows = try await rows(
                projection,
                [Self.composed, "x", Self.marks[0]].map { Words.seen($0) },
                [Self.decomposed, Self.decomposed, "x", Self.marks[1]].map { Words.seen($0) },
                by: way
            )
            #expect(
                Set(rows.map { Array($0.utf8) })
                    == Set(
                        [
                            "(\(Self.composed),1)", "(\(Self.decomposed),2)", "(x,2)",
                            "(\(Self.marks[0]),1)", "(\(Self.marks[1]),1)",
                        ].map { Array($0.utf8) }
                    ),
                "\(rows)"
            )
            #expect(rows.count == 5)
        }
    }

    @Test("O5: rows go and are replaced by the bytes of their texts", arguments: Way.allCases)
    func textsGo(way: Way) async throws {
        let rows = try await rows(
            Words.self,
            [Self.composed, Self.decomposed, Self.marks[0], Self.marks[1]].map { Words.seen($0) },
            [
                Words.gone(Self.decomposed), Words.seen(Self.composed), Words.gone(Self.marks[0]),
            ],
            by: way
        )
        #expect(
            Set(rows.map { Array($0.utf8) })
                == Set(
                    ["(\(Self.composed),2)", "(\(Self.marks[1]),1)"].map { Array($0.utf8) }
                ),
            "\(rows)"
        )
    }

    @Test(
        "O5: numbers are the same key by their value, and keep their last spelling",
        arguments: Way.allCases
    )
    func numbers(way: Way) async throws {
        let zeros = try await rows(
            Numbers.self,
            [Numbers.put("-0.0"), Numbers.put("1.5")],
            [Numbers.put("0.0"), Numbers.put("1.5")],
            by: way
        )
        #expect(zeros == ["(0,2)", "(1.5,2)"])
        let scales = try await rows(
            Amounts.self,
            [Amounts.put("1.0"), Amounts.put("2.50")],
            [Amounts.put("1.00"), Amounts.put("2.5")],
            by: way
        )
        #expect(scales.count == 2)
        #expect(scales.allSatisfy { $0.hasSuffix(",2)") }, "\(scales)")
        #expect(
            try await rows(
                Amounts.self,
                [Amounts.put("1.00"), Amounts.put("2.5")],
                [],
                by: .rebuild
            )
            .map { $0.replacing(",1)", with: ",2)") } == scales
        )
    }

    @Test(
        "O5: texts that differ are different rows under a collation that takes them for the same",
        arguments: Way.allCases
    )
    func collation(way: Way) async throws {
        guard try await ServerBuild.hasICU() else {
            return print("Left out: the server was built without ICU.")
        }
        let schema = """
            CREATE TABLE word (word text COLLATE public.nocase, events bigint NOT NULL,
                PRIMARY KEY (word));
            """
        let setup = """
            CREATE COLLATION IF NOT EXISTS public.nocase
                (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
            """
        try await GivenSQL.$setup.withValue(setup) {
            try await GivenSQL.$schema.withValue(schema) {
                // One goes in the same events in which the other comes.
                let rows = try await rows(
                    Words.self,
                    [Words.seen("a"), Words.seen("b")],
                    [Words.gone("A"), Words.gone("a"), Words.seen("A"), Words.gone("B")],
                    by: way
                )
                #expect(rows == ["(A,1)", "(b,1)"])
            }
        }
    }

    @Test("O5: the plan names a key column whose collation takes different texts for the same")
    func collationIsPlanned() async throws {
        guard try await ServerBuild.hasICU() else {
            return print("Left out: the server was built without ICU.")
        }
        let schema = """
            CREATE TABLE word (word text COLLATE public.nocase PRIMARY KEY, events bigint NOT NULL);
            """
        try await GivenSQL.$schema.withValue(schema) {
            try await withRebuildScene { scene in
                try await scene.database.execute(
                    """
                    CREATE COLLATION public.nocase
                        (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
                    """
                )
                let plan = try await scene.plan(Words.self)
                #expect(plan.refusals == [])
                #expect(
                    plan.warnings.contains { $0.contains("word.word") && $0.contains("nocase") }
                )
                try scene.append([Words.seen("a"), Words.seen("A")])
                let error = await #expect(throws: ReadModelError.self) {
                    _ = try await scene.rebuild(Words.self)
                }
                guard case .rowRejected(let row) = error, row.table == "word" else {
                    Issue.record("got \(error as Any)")
                    return
                }
            }
        }
    }

    @Test(
        "M6: a key that is not a number is named with its table and its event",
        arguments: [
            Way.rebuild, .copies, .catchUp, .resume, .follow,
        ]
    )
    func notANumber(way: Way) async throws {
        try await withRebuildScene { scene in
            let error = await #expect(throws: EventRejection.self) {
                try await Self.resolve(
                    Numbers.self,
                    [Numbers.put("1.5")],
                    [Numbers.put("2.5"), Numbers.sum("1e308"), Numbers.put("3.5")],
                    by: way,
                    in: scene
                )
            }
            #expect(error?.event.type == "Sum")
            #expect(error?.reason.contains("table 'word'") == true)
        }
    }

    @Test("M6: a row that is only asked for by such a key is not there", arguments: Way.allCases)
    func notANumberIsAbsent(way: Way) async throws {
        let rows = try await rows(
            Numbers.self,
            [Numbers.put("1.5")],
            [Numbers.look("1e308"), Numbers.put("2.5")],
            by: way
        )
        #expect(rows == ["(1.5,1)", "(2.5,1)"])
    }

    @Test(
        "M6: a key that no index can hold is named with its table and its event",
        arguments: Way.allCases
    )
    func longKey(way: Way) async throws {
        // Random letters, because the server compresses what it can.
        var random = SeededRandom(seed: 5)
        let letters = (0..<12_000).map { _ in
            Character(Unicode.Scalar(UInt8.random(in: 35...91, using: &random)))
        }
        let key = String(letters)
        try await withRebuildScene { scene in
            let error = await #expect(throws: ReadModelError.self) {
                try await Self.resolve(
                    Words.self,
                    [Words.seen("a")],
                    [Words.seen("b"), Words.seen(key), Words.gone("b")],
                    by: way,
                    in: scene
                )
            }
            guard case .rowRejected(let row) = error else {
                Issue.record("got \(error as Any)")
                return
            }
            #expect(row.table == "word")
            #expect(row.event?.position.words.0 == 3, "\(row)")
            #expect(!row.reason.contains(key.prefix(100)))
        }
    }
}

/// Counts words.
private struct Words: PartitionedProjection {
    struct Row: TableRow {
        var word: String
        var events: Int64 = 0
        var key: String { word }

        static let table = TableDefinition<Row>("word", key: "word") {
            Column("word", \.word)
            Column("events", \.events)
        }
    }

    static let name = "words"
    static var schema: String? {
        GivenSQL.schema ?? "CREATE TABLE word (word text PRIMARY KEY, events bigint NOT NULL)"
    }
    static var setup: String? { GivenSQL.setup }

    var rows = Table<Row>()

    static func partitionKey(of event: borrowing Event) throws -> PartitionKey {
        PartitionKey(try event.payload.string("word"))
    }

    mutating func reduce(_ event: borrowing Event) throws {
        let word = try event.payload.string("word")
        switch event.type {
        case EventType("Seen"): rows[word, default: Row(word: word)].events += 1
        default: rows.remove(word)
        }
    }

    static func seen(_ word: String) -> NewEvent { event("Seen", word) }
    static func gone(_ word: String) -> NewEvent { event("Gone", word) }

    private static func event(_ type: String, _ word: String) -> NewEvent {
        NewEvent(stream: "words", type: type, data: #"{"word":"\#(word)"}"#)
    }
}

/// Counts words under a key of several parts.
private struct WordPairs: PartitionedProjection {
    struct Row: TableRow {
        struct Key: Hashable {
            var word: String?
        }

        var word: String?
        var events: Int64 = 0
        var key: Key { Key(word: word) }

        static let table = TableDefinition<Row>("word", key: "word") {
            Column("word", \.word)
            Column("events", \.events)
        }
    }

    static let name = "word_pairs"
    static let schema: String? = "CREATE TABLE word (word text UNIQUE, events bigint NOT NULL)"

    var rows = Table<Row>()

    static func partitionKey(of event: borrowing Event) throws -> PartitionKey {
        PartitionKey(try event.payload.string("word"))
    }

    mutating func reduce(_ event: borrowing Event) throws {
        let word = try event.payload.string("word")
        rows[Row.Key(word: word), default: Row(word: word)].events += 1
    }
}

/// Counts by a floating-point number.
private struct Numbers: PartitionedProjection {
    struct Row: TableRow {
        var number: Double
        var events: Int64 = 0
        var key: Double { number }

        static let table = TableDefinition<Row>("word", key: "number") {
            Column("number", \.number)
            Column("events", \.events)
        }
    }

    static let name = "numbers"
    static let schema: String? = """
        CREATE TABLE word (number double precision PRIMARY KEY, events bigint NOT NULL)
        """

    var rows = Table<Row>()

    static func partitionKey(of event: borrowing Event) throws -> PartitionKey { PartitionKey(1) }

    mutating func reduce(_ event: borrowing Event) throws {
        let number = try event.payload.double("number")
        switch event.type {
        case EventType("Put"):
            rows[number] = Row(number: number, events: (rows[number]?.events ?? 0) + 1)
        case EventType("Look"):
            rows[number * 10 - number * 10]?.events += 1
        default:
            let sum = number * 10 - number * 10
            rows[sum] = Row(number: sum)
        }
    }

    static func put(_ number: String) -> NewEvent { event("Put", number) }
    /// Infinity less infinity.
    static func sum(_ number: String) -> NewEvent { event("Sum", number) }
    static func look(_ number: String) -> NewEvent { event("Look", number) }

    private static func event(_ type: String, _ number: String) -> NewEvent {
        NewEvent(stream: "numbers", type: type, data: #"{"number":\#(number)}"#)
    }
}

/// Counts by an exact number.
private struct Amounts: PartitionedProjection {
    struct Row: TableRow {
        var number: Decimal
        var events: Int64 = 0
        var key: Decimal { number }

        static let table = TableDefinition<Row>("word", key: "number") {
            Column("number", \.number)
            Column("events", \.events)
        }
    }

    static let name = "amounts"
    static let schema: String? = """
        CREATE TABLE word (number numeric PRIMARY KEY, events bigint NOT NULL)
        """

    var rows = Table<Row>()

    static func partitionKey(of event: borrowing Event) throws -> PartitionKey { PartitionKey(1) }

    mutating func reduce(_ event: borrowing Event) throws {
        let number = try event.payload.decimal("number")
        rows[number] = Row(number: number, events: (rows[number]?.events ?? 0) + 1)
    }

    static func put(_ number: String) -> NewEvent {
        NewEvent(stream: "amounts", type: "Put", data: #"{"number":\#(number)}"#)
    }
}
