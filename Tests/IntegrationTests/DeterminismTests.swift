import Ledgers
import Postgres
import ProjectionKit
import ReadModels
import Rebuilder
import ShopProjection
import TestSupport
import Testing

@Suite("Two folds of the same events")
struct DeterminismTests {
    private static let checked: RebuildOptions = {
        var options = RebuildOptions()
        options.checksDeterminism = true
        options.consent = CarryOverConsent(acceptsLoss: true)
        return options
    }()

    @Test("a sound reducer is rebuilt, and its digests are those of the next rebuild")
    func sound() async throws {
        try await withRebuildScene { scene in
            try scene.appendShop(events: 3_000, seed: 1)
            let plain = try await scene.rebuild(Shop.self)
            #expect(plain.digests == nil)
            let first = try await scene.rebuild(Shop.self, options: Self.checked)
            let digests = try #require(first.digests)
            #expect(Set(digests.keys).isSuperset(of: ["order_summary", "order_line"]))
            #expect(digests.values.allSatisfy { $0.count == 16 && $0 != "0000000000000000" })
            #expect(first.isLive && first.generation == 2)
            #expect(first.seconds.foldAgain > 0)
            var options = Self.checked
            options.strategy = .truncate
            #expect(try await scene.rebuild(Shop.self, options: options).digests == digests)
            try scene.appendShop(events: 10, seed: 2)
            let later = try await scene.rebuild(Shop.self, options: Self.checked)
            #expect(later.digests?["order_summary"] != digests["order_summary"])
        }
    }

    @Test(
        "a reducer that goes by chance, the clock or the order of a Dictionary is stopped",
        arguments: [Unsound.Random.self, Unsound.Clock.self, Unsound.Order.self]
            as [any Projection.Type]
    )
    func unsound(projection: any Projection.Type) async throws {
        let difference = try await difference(of: projection)
        #expect(difference.table == "tally")
        #expect(difference.key.hasPrefix("id = "))
        #expect(difference.columns == ["label"])
        #expect(difference.rows > 20)
    }

    @Test("chance in the reducer's own state is found as well")
    func hidden() async throws {
        let difference = try await difference(of: Unsound.Hidden.self)
        #expect(difference.table == "memory")
        #expect(difference.key == "id = 1")
        #expect(difference.columns == ["chance"])
        #expect(difference.rows == 40)
    }

    @Test("a row that only one fold has is found")
    func missing() async throws {
        let difference = try await difference(of: Unsound.Missing.self)
        #expect(difference.table == "tally")
        #expect(difference.key == "id = 1")
        #expect(difference.columns == [])
        #expect(difference.rows == 1)
    }

    @Test("an event that is committed late between the two folds is no difference")
    func lateEvent() async throws {
        try await withLateScene { scene, _ in
            try scene.append(counted(1...5))
            let late = NewEvent(
                time: Timestamp(milliseconds: 1),
                stream: "tally-9",
                type: "Counted",
                data: #"{"id":9}"#
            )
            let report = try await scene.rebuild(Tally.self, options: Self.checked) { step in
                guard case .stage(.foldingAgain) = step else { return }
                try? scene.append([late])
            }
            #expect(report.events == 6)
            #expect(report.digests?.keys.sorted() == ["tally", "tally_day"])
            #expect(try await scene.database.count("public.tally") == 6)
        }
    }

    @Test("the message says where, and never what")
    func message() throws {
        var table = Table<TallyRow>()
        table[7] = TallyRow(id: 7, events: 1, label: "secret")
        var other = table
        other[7]?.label = "other"
        guard case .different(let difference) = table.comparison(with: other) else {
            Issue.record("two tables with different rows were the same")
            return
        }
        let error = UnrepeatableFold(projection: "tally", difference: difference)
        #expect(
            "\(error)" == """
                Two folds of the same events gave 'tally' different rows: in 'tally' 1 row differs, \
                the first at id = 7, in the column label.
                The live tables are unchanged.
                A reducer goes by its event and its tables alone, and not by the clock, random \
                numbers or the order of a Dictionary or Set. Fix it, then run 'reprise rebuild \
                tally --check-determinism' again.
                """
        )
    }

    /// Rebuilds, which has to stop before anything is loaded.
    private func difference(of projection: any Projection.Type) async throws -> TableDifference {
        try await withRebuildScene { scene in
            try scene.append(counted(1...20))
            _ = try await scene.rebuild(Tally.self)
            let before = try await scene.rows(of: "public.tally")
            try scene.append(counted(1...40))
            let error = await #expect(throws: UnrepeatableFold.self) {
                _ = try await scene.rebuild(projection, options: Self.checked)
            }
            #expect(error?.projection == "tally")
            #expect(try await scene.rows(of: "public.tally") == before)
            #expect(try await scene.database.count("reprise.generation") == 1)
            let run = try await scene.database.query(
                "SELECT stage, state FROM reprise.run ORDER BY run_id DESC LIMIT 1"
            ).first
            #expect(try run?.string("stage") == "folding again")
            #expect(try run?.string("state") == "failed")
            return try #require(error).difference
        }
    }
}
