import ProjectionKit

/// Projections that cannot be used, by the word that adds them.
let mistakes: [String: any Projection.Type] = [
    "name": SameName.self, "table": SameTable.self, "key": MistypedKey.self,
    "column": TwiceDeclared.self, "nested": Nested.self,
]

struct SameName: Projection {
    static let name = "trap"
    static let schema: String? = "CREATE TABLE other (name text PRIMARY KEY);"

    var rows = Table<Name>()

    mutating func reduce(_ event: borrowing Event) throws {}
}

struct SameTable: Projection {
    static let name = "twin"
    static let schema: String? =
        "CREATE TABLE tally (name text PRIMARY KEY, number bigint NOT NULL);"

    var rows = Table<Tally>()

    mutating func reduce(_ event: borrowing Event) throws {}
}

struct Name: TableRow {
    let name: String
    var key: String { name }

    static let table = TableDefinition<Name>("other", key: "name") { Column("name", \.name) }
}

struct MistypedKey: Projection {
    struct Row: TableRow {
        let author: String
        var key: String { author }

        static let table = TableDefinition<Row>("typo", key: "auther") {
            Column("author", \.author)
        }
    }

    static let name = "typo"
    static let schema: String? = "CREATE TABLE typo (author text PRIMARY KEY);"

    var rows = Table<Row>()

    mutating func reduce(_ event: borrowing Event) throws {}
}

struct TwiceDeclared: Projection {
    struct Row: TableRow {
        let author: String
        var key: String { author }

        static let table = TableDefinition<Row>("twice", key: "author") {
            Column("author", \.author)
            Column("author", \.author)
        }
    }

    static let name = "twice"
    static let schema: String? = "CREATE TABLE twice (author text PRIMARY KEY);"

    var rows = Table<Row>()

    mutating func reduce(_ event: borrowing Event) throws {}
}

struct Nested: Projection {
    struct Inside {
        var rows = Table<Name>()
    }

    static let name = "nested"
    static let schema: String? = "CREATE TABLE other (name text PRIMARY KEY);"

    var inside = Inside()

    mutating func reduce(_ event: borrowing Event) throws {}
}
