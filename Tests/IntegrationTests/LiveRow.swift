import Ledgers
import ProjectionKit

/// A row of the table that most cases are about.
struct LiveRow: TableRow {
    var id: Int32
    var v: String
    var key: Int32 { id }

    static let table = TableDefinition<LiveRow>("live", key: "id") {
        Column("id", \.id)
        Column("v", \.v)
    }
}

/// The newest value of each id.
struct Live: Projection {
    static let name = "live"
    static var schema: String? { GivenSQL.schema }
    static var checks: String? { GivenSQL.checks }
    var rows = Table<LiveRow>()

    mutating func reduce(_ event: borrowing Event) throws {
        let id = try event.payload.int32("id")
        rows[id] = LiveRow(id: id, v: try event.payload.string("v"))
    }

    /// An event that makes one row; `p` is for ``LinkedLive``.
    static func event(_ id: Int, _ v: String, p: Int? = nil) -> NewEvent {
        let link = p.map { #", "p": \#($0)"# } ?? ""
        return NewEvent(
            stream: "live-\(id)",
            type: "Set",
            data: #"{"id": \#(id), "v": "\#(v)"\#(link)}"#
        )
    }
}

/// A row with a number that the case gives a meaning to.
struct LinkedRow: TableRow {
    var id: Int32
    var v: String
    var p: Int32?
    var key: Int32 { id }

    static let table = TableDefinition<LinkedRow>("live", key: "id") {
        Column("id", \.id)
        Column("v", \.v)
        Column("p", \.p)
    }
}

/// ``Live`` with the number.
struct LinkedLive: Projection {
    static let name = "live"
    static var schema: String? { GivenSQL.schema }
    var rows = Table<LinkedRow>()

    mutating func reduce(_ event: borrowing Event) throws {
        let id = try event.payload.int32("id")
        rows[id] = LinkedRow(
            id: id,
            v: try event.payload.string("v"),
            p: try event.payload.int32IfPresent("p")
        )
    }
}

/// Two tables that change together.
struct Pair: Projection {
    struct Parent: TableRow {
        var id: Int32
        var v: String
        var key: Int32 { id }

        static let table = TableDefinition<Parent>("a", key: "id") {
            Column("id", \.id)
            Column("v", \.v)
        }
    }

    struct Child: TableRow {
        var id: Int32
        var parent: Int32
        var v: String
        var key: Int32 { id }

        static let table = TableDefinition<Child>("b", key: "id") {
            Column("id", \.id)
            Column("a_id", \.parent)
            Column("v", \.v)
        }
    }

    static let name = "pair"
    static var schema: String? { GivenSQL.schema }
    // The child first: what it refers to is loaded after it.
    var children = Table<Child>()
    var parents = Table<Parent>()

    mutating func reduce(_ event: borrowing Event) throws {
        let id = try event.payload.int32("id")
        let v = try event.payload.string("v")
        parents[id] = Parent(id: id, v: v)
        children[id] = Child(id: id, parent: id, v: v)
    }

    static let tables = """
        CREATE TABLE a (id int PRIMARY KEY, v text NOT NULL);
        CREATE TABLE b (
            id int PRIMARY KEY, a_id int NOT NULL CONSTRAINT up REFERENCES a, v text NOT NULL);
        """
    static let rows = """
        INSERT INTO s.a VALUES (1, 'old');
        INSERT INTO s.b VALUES (1, 1, 'old');
        """
}
