import ProjectionKit

/// What a stream's events were, in the order in which a reducer saw them.
struct StreamLogRow: TableRow {
    var stream: String
    var events: Int64 = 0
    /// Of every event's number, so that another order gives another value.
    var chain: Int64 = 0
    var key: String { stream }

    static let table = TableDefinition<StreamLogRow>("stream_log", key: "stream") {
        Column("stream", \.stream)
        Column("events", \.events)
        Column("chain", \.chain)
    }
}

/// A row for each stream that tells the order of its events.
struct StreamLog: Projection {
    static let name = "stream_log"
    static let schema: String? = """
        CREATE TABLE stream_log (
            stream text PRIMARY KEY,
            events bigint NOT NULL,
            chain bigint NOT NULL
        );
        """

    var streams = Table<StreamLogRow>()

    mutating func reduce(_ event: borrowing Event) throws {
        let stream = event.stream
        let number = try event.payload.int64("n")
        var row = streams[stream] ?? StreamLogRow(stream: stream)
        row.events += 1
        row.chain = (row.chain &* 31 &+ number) % 2_147_483_647
        streams[stream] = row
    }
}
