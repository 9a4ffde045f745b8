internal import ProjectionKit
internal import Testing

/// A projection and the name of its table.
struct HostileTable: Sendable, CustomTestStringConvertible {
    let name: String
    let projection: any Projection.Type

    var testDescription: String { name }

    static let all = [
        HostileTable(LongName.self), HostileTable(LongMultibyteName.self),
        HostileTable(QuotedName.self), HostileTable(KeywordName.self),
        HostileTable(CombiningName.self), HostileTable(LateMultibyteName.self),
    ]

    private init<Name: TableName>(_ name: Name.Type) {
        self.name = name.text
        projection = HostileNotes<Name>.self
    }
}

protocol TableName: Sendable {
    static var text: String { get }
}

enum LongName: TableName {
    static let text = String(repeating: "n", count: 63)
}

enum LongMultibyteName: TableName {
    static let text = "x" + String(repeating: "é", count: 31)
}

/// 62 bytes, of which the last two are one character.
enum LateMultibyteName: TableName {
    static let text = String(repeating: "n", count: 60) + "é"
}

enum QuotedName: TableName {
    static let text = #"We"ird.T bl'\ %s $1"#
}

enum KeywordName: TableName {
    static let text = "table"
}

/// Begins with a combining mark, which would make one character with the quote before it.
enum CombiningName: TableName {
    static let text = "\u{301}\"\u{301}\u{1F989}"
}

private struct HostileNote<Name: TableName>: TableRow {
    var id: Int64
    var words: String?
    var key: Int64 { id }

    static var table: TableDefinition<HostileNote> {
        TableDefinition<HostileNote>(Name.text, key: "select") {
            Column("select", \.id)
            Column(#"a "q"\'"#, \.words)
        }
    }
}

private struct HostileNotes<Name: TableName>: Projection {
    static var name: String { "hostile_notes" }
    static var schema: String? { GivenSQL.schema }
    var rows = Table<HostileNote<Name>>()

    mutating func reduce(_ event: borrowing Event) throws {
        let id = try event.payload.int64("id")
        rows[id] = HostileNote(id: id, words: event.stream)
    }
}
