internal import Ledgers
internal import ProjectionKit

/// A row of a table `note`, whose SQL files a test gives with ``GivenSQL``.
struct Note: TableRow {
    var id: Int64
    var words: String?
    var key: Int64 { id }

    static let table = TableDefinition<Note>("note", key: "id") {
        Column("id", \.id)
        Column("words", \.words)
    }

    /// An event that makes one note.
    static func event(_ id: Int64, words: String = "hello") -> NewEvent {
        NewEvent(
            stream: "note-\(id)",
            type: "Noted",
            data: #"{"id": \#(id), "words": "\#(words)"}"#
        )
    }
}

/// A note for each event.
struct Notes: Projection {
    static let name = "notes"
    static var schema: String? { GivenSQL.schema }
    static var setup: String? { GivenSQL.setup }
    static var checks: String? { GivenSQL.checks }
    var rows = Table<Note>()

    mutating func reduce(_ event: borrowing Event) throws {
        let id = try event.payload.int64("id")
        rows[id] = Note(id: id, words: try event.payload.string("words"))
    }
}
