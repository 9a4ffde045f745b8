import ProjectionKit
import RepriseCommand

/// The program of `schedule.py`: as an old and as a new one, by its name, with two reducers.
///
/// Each event adds the program's weight to the row of its id. So the rows tell which program made
/// them, and whether two did.
struct Weighed: Projection {
    struct Row: TableRow {
        var id: Int64
        var weight: Int64 = 0
        var key: Int64 { id }

        static let table = TableDefinition<Row>("weighed", key: "id") {
            Column("id", \.id)
            Column("weight", \.weight)
        }
    }

    static let name = "weighed"
    static let schema: String? =
        "CREATE TABLE weighed (id bigint PRIMARY KEY, weight bigint NOT NULL);"
    private static let unit: Int64 = CommandLine.arguments[0].hasSuffix("-new") ? 1_000_003 : 1

    var rows = Table<Row>()

    mutating func reduce(_ event: borrowing Event) throws {
        let id = try event.payload.int64("id")
        rows[id, default: Row(id: id)].weight += Self.unit
    }
}

await Reprise.main(projections: [Weighed.self])
