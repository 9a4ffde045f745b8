import LedgerKit
import LinesLedger
import ProjectionKit
import RepriseCommand

struct ShelfLevel: TableRow {
    let item: String
    var pieces: Int64 = 0
    var key: String { item }

    static let table = TableDefinition<ShelfLevel>("shelf_level", key: "item") {
        Column("item", \.item)
        Column("pieces", \.pieces)
    }
}

struct Shelf: Projection {
    static let name = "shelf"
    static let schema: String? = """
        CREATE TABLE shelf_level (item text PRIMARY KEY, pieces bigint NOT NULL)
        """

    var levels = Table<ShelfLevel>()

    mutating func reduce(_ event: borrowing Event) throws {
        let item = try event.payload.string("item")
        levels[item, default: ShelfLevel(item: item)].pieces += try event.payload.int64("pieces")
    }
}

await Reprise.main(
    projections: [Shelf.self],
    ledgers: [LedgerScheme("lines") { try LinesLedger(address: $0) }]
)
