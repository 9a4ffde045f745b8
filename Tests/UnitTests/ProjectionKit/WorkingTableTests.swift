import Foundation
import ProjectionKit
import ProjectionTesting
import TestSupport
import Testing

@Suite("Table and WorkingTable")
struct WorkingTableTests {
    @Test("working rows are published by a copy, and only a readers' table is loaded (S21)")
    func publishing() throws {
        let prices = try given(
            Prices.self,
            Prices.set("a", 1),
            Prices.set("b", 2),
            GivenEvent("Published"),
            Prices.set("a", 9),
            Prices.set("c", 3)
        )
        #expect(prices.published.rows.map(\.cents) == [1, 2])
        #expect(prices.draft.rows.map(\.cents) == [9, 2, 3])

        let fold = Prices.makeFold()
        #expect(fold.declaredTables.map(\.property) == ["draft", "published"])
        #expect(fold.tables.map(\.name) == ["price"])
        #expect(fold.workingTables.map(\.name) == ["price"])
        #expect(!(WorkingTable<Price>() is any LoadableTable))
    }

    @Test(
        "a working table can be begun with the rows of a readers' table, and neither changes the other"
    )
    func working() {
        var table = Table<Price>()
        table["a"] = Price(item: "a", cents: 1)
        var working = WorkingTable(table)
        working["a"]?.cents = 2
        table["b"] = Price(item: "b", cents: 3)
        #expect(working.rows.map(\.cents) == [2])
        #expect(table.rows.map(\.cents) == [1, 3])
    }

    @Test("a working table in the place of a readers' table does not compile (S21)")
    func assignment() async throws {
        let right = try await complaints("published = Table(draft)")
        #expect(right == "")
        let wrong = try await complaints("published = draft")
        #expect(wrong.contains("cannot assign value of type 'WorkingTable<Price>'"))
        #expect(try await complaints("swap(&published, &draft)").contains("error: "))
    }

    @Test("a property that holds another table after the events traps in the unit test (S21)")
    func trapInUnitTest() async throws {
        let swapped = try await #require(
            processExitsWith: .failure,
            observing: [\.standardErrorContent]
        ) {
            _ = try given(Shifting.self, GivenEvent("Swapped"))
        }
        #expect(
            String(decoding: swapped.standardErrorContent, as: UTF8.self).contains(
                "the property 'first' of projection 'shifting' held the table 'price' "
            )
        )
        let added = try await #require(
            processExitsWith: .failure,
            observing: [\.standardErrorContent]
        ) {
            _ = try given(Shifting.self, GivenEvent("Added"))
        }
        #expect(
            String(decoding: added.standardErrorContent, as: UTF8.self).contains(
                "the property 'later' of projection 'shifting' held no table at first and holds "
                    + "the table 'price' "
            )
        )
        let left = try await #require(
            processExitsWith: .failure,
            observing: [\.standardErrorContent]
        ) {
            _ = try given(Shifting.self, GivenEvent("Left"))
        }
        #expect(
            String(decoding: left.standardErrorContent, as: UTF8.self).contains(
                "holds no table now"
            )
        )
        #expect(throws: Never.self) { try given(Shifting.self, GivenEvent("Nothing")) }
    }

    @Test("a property that holds another table after the events traps before a rebuild loads (S21)")
    func trapInFold() async throws {
        let result = try await #require(
            processExitsWith: .failure,
            observing: [\.standardErrorContent]
        ) {
            let fold = Shifting.makeFold()
            let batch = EventBatch()
            batch.append(
                LedgerEvent(
                    position: Position(1),
                    time: Timestamp(milliseconds: 0),
                    bucketStart: 0,
                    type: "Swapped",
                    stream: "s",
                    payload: "{}",
                    id: nil,
                    metadata: nil
                )
            )
            try fold.apply(batch)
            _ = fold.table(named: "price")
        }
        #expect(
            String(decoding: result.standardErrorContent, as: UTF8.self).contains(
                "the property 'first' of projection 'shifting' held the table 'price' "
            )
        )
    }

    /// What the compiler says of a reducer with this statement.
    private func complaints(_ statement: String) async throws -> String {
        try await withScratchFolder { folder in
            let source = "\(folder)/Reducer.swift"
            try """
            import ProjectionKit

            struct Price: TableRow {
                var item: String
                var key: String { item }
                static let table = TableDefinition<Price>("price", key: "item") {
                    Column("item", \\.item)
                }
            }

            func reduce(_ published: inout Table<Price>, _ draft: inout WorkingTable<Price>) {
                \(statement)
            }
            """.write(toFile: source, atomically: true, encoding: .utf8)
            let products = URL(filePath: CommandLine.arguments[0]).deletingLastPathComponent()
            let maps = ["CSimdJSON", "CCrashReport"].flatMap { target in
                let map = products.appending(path: "\(target).build/module.modulemap")
                return ["-Xcc", "-fmodule-map-file=\(map.path)"]
            }
            return try await ChildProcess.run(
                "swiftc",
                ["-typecheck", "-I", products.appending(path: "Modules").path] + maps + [source]
            ).standardError
        }
    }
}

private struct Price: TableRow {
    let item: String
    var cents: Int64 = 0
    var key: String { item }

    static let table = TableDefinition<Price>("price", key: "item") {
        Column("item", \.item)
        Column("cents", \.cents)
    }
}

/// Prices that are prepared first, and published together.
private struct Prices: Projection {
    static let name = "prices"
    static let schema: String? = nil

    var draft = WorkingTable<Price>()
    var published = Table<Price>()

    mutating func reduce(_ event: borrowing Event) throws {
        switch event.type.name {
        case "PriceSet":
            let item = try event.payload.string("item")
            draft[item, default: Price(item: item)].cents = try event.payload.int64("cents")
        case "Published": published = Table(draft)
        default: break
        }
    }

    static func set(_ item: String, _ cents: Int) -> GivenEvent {
        GivenEvent("PriceSet", data: #"{"item":"\#(item)","cents":\#(cents)}"#)
    }
}

/// Properties whose type does not say which table they hold.
private struct Shifting: Projection {
    static let name = "shifting"
    static let schema: String? = nil

    var first: any Sendable = Table<Price>()
    var second: any Sendable = WorkingTable<Price>()
    var later: Table<Price>?

    mutating func reduce(_ event: borrowing Event) throws {
        switch event.type.name {
        case "Swapped": swap(&first, &second)
        case "Added": later = Table()
        case "Left": first = 0
        default: break
        }
    }
}
