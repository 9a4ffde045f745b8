import Ledgers
import Postgres
import ProjectionKit
import ReadModels
import Rebuilder
import TestSupport
import Testing

extension ColumnList {
    /// A list that a loop has made.
    fileprivate static func buildExpression(_ columns: [Column<Row>]) -> [Column<Row>] { columns }
    fileprivate static func buildBlock(_ columns: [Column<Row>]) -> [Column<Row>] { columns }
}

/// As many columns as changed rows can have.
private struct ManyColumns: TableRow {
    static let width = 1_597
    var id: Int64
    var values = [Int16](repeating: 1, count: Self.width)
    var key: Int64 { id }

    subscript(place: Int) -> Int16 { values[place] }

    static let table = TableDefinition<ManyColumns>("many", key: "id") {
        [Column("id", \.id)] + (0..<Self.width).map { Column("c\($0)", \.[$0]) }
    }
}

/// As many bytes as fit into a page, none of which the server can store elsewhere.
private struct FullPage: TableRow {
    static let width = 990
    var id: Int64
    var values = [Int64](repeating: 1, count: Self.width)
    var key: Int64 { id }

    subscript(place: Int) -> Int64 { values[place] }

    static let table = TableDefinition<FullPage>("full_page", key: "id") {
        [Column("id", \.id)] + (0..<Self.width).map { Column("c\($0)", \.[$0]) }
    }
}

private func columns(_ width: Int, _ type: String) -> String {
    "id bigint PRIMARY KEY, " + (0..<width).map { "c\($0) \(type)" }.joined(separator: ", ")
}

private struct WideRows: Projection {
    static let name = "wide_rows"
    static let schema: String? = """
        CREATE TABLE many (\(columns(ManyColumns.width, "smallint")));
        CREATE TABLE full_page (\(columns(FullPage.width, "bigint")));
        """

    var many = Table<ManyColumns>()
    var full = Table<FullPage>()

    mutating func reduce(_ event: borrowing Event) throws {
        let id = try event.payload.int64("id")
        many[id, default: ManyColumns(id: id)].values[ManyColumns.width - 1] += 1
        full[id, default: FullPage(id: id)].values[FullPage.width - 1] += 1
    }
}

private struct TooWide: Projection {
    struct Row: TableRow {
        var id: Int64
        var key: Int64 { id }
        subscript(place: Int) -> Int16 { 0 }
        static let table = TableDefinition<Row>("too_wide", key: "id") {
            [Column("id", \.id)] + (0..<1_598).map { Column("c\($0)", \.[$0]) }
        }
    }
    static let name = "too_wide"
    static let schema: String? = "CREATE TABLE too_wide (\(columns(1_598, "smallint")))"
    var rows = Table<Row>()
    mutating func reduce(_ event: borrowing Event) {}
}

@Suite("Rows with as many columns and bytes as a table takes")
struct WideRowTests {
    private func expect(_ scene: RebuildScene, _ changes: Int) async throws {
        for (table, column) in [("many", "c1596"), ("full_page", "c989")] {
            let rows = try await scene.database.query(
                "SELECT \(column) AS changes, c0 FROM public.\(table) WHERE id = 1"
            )
            #expect(try rows.first?.int("changes") == Int64(changes) + 1)
            #expect(try rows.first?.int("c0") == 1)
        }
    }

    @Test("E9: are rebuilt, caught up, followed and truncated")
    func everyWay() async throws {
        try await withRebuildScene { scene in
            try scene.append([1, 2, 3].map { Live.event($0, "x") })
            _ = try await scene.rebuild(WideRows.self)
            try await expect(scene, 1)
            try scene.append([Live.event(1, "x"), Live.event(4, "x")])
            try await scene.follow(WideRows.self)
            try await expect(scene, 2)
            var options = RebuildOptions()
            options.swaps = false
            _ = try await scene.rebuild(WideRows.self, options: options)
            try scene.append([Live.event(1, "x")])
            options.swaps = true
            options.resumes = true
            _ = try await scene.rebuild(WideRows.self, options: options)
            try await expect(scene, 3)
            options = RebuildOptions()
            options.strategy = .truncate
            _ = try await scene.rebuild(WideRows.self, options: options)
            try await expect(scene, 3)
        }
    }

    @Test("E9: one column more is refused before anything is read, and the number is named")
    func tooWide() async throws {
        try await withRebuildScene { scene in
            let refusals = try await scene.plan(TooWide.self).refusals
            #expect(
                refusals.contains {
                    $0.contains("declares 1599 columns") && $0.contains("1598 are the most")
                }
            )
        }
    }
}
