import Ledgers
import ProjectionKit

/// A seat and who sits on it: no two persons on one seat.
struct SeatRow: TableRow {
    var person: Int64
    var seat: Int64
    var notes: Int32 = 0
    var key: Int64 { person }

    static let table = TableDefinition<SeatRow>("seating", key: "person") {
        Column("person", \.person)
        Column("seat", \.seat)
        Column("notes", \.notes)
    }
}

/// What was noted about a person who has a seat.
struct SeatNoteRow: TableRow {
    struct Key: Hashable {
        var person: Int64
        var number: Int32
    }

    var person: Int64
    var number: Int32
    var words: String?
    var key: Key { Key(person: person, number: number) }

    static let table = TableDefinition<SeatNoteRow>("seat_note", key: "person", "number") {
        Column("person", \.person)
        Column("number", \.number)
        Column("words", \.words)
    }
}

/// A projection whose rows come, change, exchange unique values and go, under a foreign key.
struct Seating: Projection {
    static let name = "seating"
    // The child first: the order of declaration must not be what makes it work.
    static let schema: String? = """
        CREATE TABLE seating (
            person bigint PRIMARY KEY,
            seat bigint NOT NULL UNIQUE,
            notes integer NOT NULL
        );
        CREATE TABLE seat_note (
            person bigint NOT NULL REFERENCES seating,
            number integer NOT NULL,
            words text,
            PRIMARY KEY (person, number)
        );
        """

    var notes = Table<SeatNoteRow>()
    var seats = Table<SeatRow>()

    mutating func reduce(_ event: borrowing Event) throws {
        switch event.type {
        case EventType("Seated"):
            let person = try event.payload.int64("person")
            seats[person] = SeatRow(person: person, seat: try event.payload.int64("seat"))
        case EventType("Exchanged"):
            let first = try event.payload.int64("first")
            let second = try event.payload.int64("second")
            guard let one = seats[first]?.seat, let other = seats[second]?.seat else {
                throw EventError("nobody sits there")
            }
            seats[first]?.seat = other
            seats[second]?.seat = one
        case EventType("Noted"): try note(event)
        case EventType("Left"):
            let person = try event.payload.int64("person")
            guard let seat = seats.remove(person) else { throw EventError("nobody sits there") }
            for number in 0..<seat.notes {
                notes.remove(SeatNoteRow.Key(person: person, number: number))
            }
        case EventType("Cleared"):
            notes = Table()
            seats = Table()
        default: break
        }
    }

    private mutating func note(_ event: borrowing Event) throws {
        let person = try event.payload.int64("person")
        guard let number = seats[person]?.notes else { throw EventError("nobody sits there") }
        seats[person]?.notes += 1
        notes[SeatNoteRow.Key(person: person, number: number)] = SeatNoteRow(
            person: person,
            number: number,
            words: try? event.payload.string("words")
        )
    }

    static func seated(_ person: Int, on seat: Int) -> NewEvent {
        event("Seated", #"{"person":\#(person),"seat":\#(seat)}"#)
    }

    static func exchanged(_ first: Int, _ second: Int) -> NewEvent {
        event("Exchanged", #"{"first":\#(first),"second":\#(second)}"#)
    }

    static func noted(_ person: Int, _ words: String = "hello") -> NewEvent {
        event("Noted", #"{"person":\#(person),"words":"\#(words)"}"#)
    }

    static func left(_ person: Int) -> NewEvent { event("Left", #"{"person":\#(person)}"#) }

    static let cleared = event("Cleared", "{}")

    private static func event(_ type: String, _ data: String) -> NewEvent {
        NewEvent(stream: "seating", type: type, data: data)
    }
}
