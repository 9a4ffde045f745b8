import Ledgers
import ProjectionKit

/// A row for each id, with the number of events that named it: a read model small enough to put
/// anything onto.
struct TallyRow: TableRow {
    var id: Int64
    var events: Int64 = 0
    var label = "new"
    var key: Int64 { id }

    static let table = TableDefinition<TallyRow>("tally", key: "id") {
        Column("id", \.id)
        Column("events", \.events)
        Column("label", \.label)
    }
}

/// One event and one row for each day on which something was counted, to have a second table.
struct TallyDayRow: TableRow {
    var day: Day
    var events: Int64 = 0
    var key: Day { day }

    static let table = TableDefinition<TallyDayRow>("tally_day", key: "day") {
        Column("day", \.day)
        Column("events", \.events)
    }
}

extension EventType {
    static let counted = EventType("Counted")
}

/// Counts `Counted` events by id and by day.
struct Tally: Projection {
    static let name = "tally"
    static let schema: String? = """
        CREATE TABLE tally (
            id bigint PRIMARY KEY,
            events bigint NOT NULL CHECK (events > 0),
            label text NOT NULL
        );
        CREATE INDEX tally_events ON tally (events) WHERE events > 1;
        COMMENT ON TABLE tally IS 'How often each id was counted.';
        COMMENT ON INDEX tally_events IS 'The busy ones.';
        CREATE STATISTICS tally_statistics ON id, events FROM tally;
        CREATE TABLE tally_day (
            day date PRIMARY KEY,
            events bigint NOT NULL
        );
        """

    var tallies = Table<TallyRow>()
    var days = Table<TallyDayRow>()

    mutating func reduce(_ event: borrowing Event) throws {
        guard event.type == .counted else { return }
        let id = try event.payload.int64("id")
        tallies[id, default: TallyRow(id: id)].events += 1
        let day = event.time.day
        days[day, default: TallyDayRow(day: day)].events += 1
    }
}

/// The same projection without a `schema.sql`: its tables are cloned from the live ones.
struct ClonedTally: Projection {
    static let name = "tally"
    static let schema: String? = nil

    var tallies = Table<TallyRow>()

    mutating func reduce(_ event: borrowing Event) throws {
        let id = try event.payload.int64("id")
        tallies[id, default: TallyRow(id: id)].events += 1
    }
}

/// Events that count each of the ids once.
func counted(_ ids: some Sequence<Int>) -> [NewEvent] {
    ids.map { NewEvent(stream: "tally-\($0)", type: "Counted", data: #"{"id":\#($0)}"#) }
}
