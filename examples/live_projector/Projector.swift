internal import Foundation
internal import LedgerKit
internal import Ledgers
internal import Postgres
internal import ProjectionKit

/// Keeps the tables of a small projection current while Reprise rebuilds and swaps them:
/// `tally (id, events, label)` counts the events `Counted` by the id in them, `tally_day (day, events)`
/// by their day.
///
/// An example to read: `Postgres` and `Ledgers` are no products of this package, so a copy needs a client
/// library of its own for both. `docs/live-projector.md` says why each step is there. SIGTERM ends it at once:
/// the server rolls back what was not committed, position included.
@main
struct LiveProjector {
    private let ledger: any Ledger
    private var generation: Int64?
    private var isAtEnd = false

    static func main() async throws {
        let arguments = CommandLine.arguments
        guard arguments.count >= 3 else {
            say("Usage: LiveProjectorExample LEDGER DATABASE [--until-caught-up]")
            exit(2)
        }
        let settings = ConnectionSettings(
            conninfo: arguments[2],
            applicationName: "tally projector"
        )
        var projector = LiveProjector(ledger: try LedgerAddress(arguments[1]).open([]))
        while true {
            do {
                try await PostgresConnection.withConnection(settings) { connection in
                    try await projector.follow(
                        on: connection,
                        untilCaughtUp: arguments.contains("--until-caught-up")
                    )
                }
                return
            } catch let error as ConnectionError where error.isTransient {
                // Whether a COMMIT went through before, the checkpoint row tells.
                say("tally: the connection is lost; again in a second")
                try await Task.sleep(for: .seconds(1))
            } catch {
                say("tally: \(error)")
                exit(1)
            }
        }
    }

    private init(ledger: any Ledger) {
        self.ledger = ledger
    }

    private mutating func follow(
        on connection: PostgresConnection,
        untilCaughtUp: Bool
    ) async throws {
        // A projector that stands still must not hold the checkpoint row for ever.
        try await connection.execute("SET idle_in_transaction_session_timeout = '10s'")
        while true {
            try await connection.withTransaction { try await applyBatch(on: $0) }
            guard isAtEnd else { continue }
            if untilCaughtUp { return }
            try await Task.sleep(for: .milliseconds(100))
        }
    }

    /// One transaction: the checkpoint row first, rows and position together.
    private mutating func applyBatch(on connection: PostgresConnection) async throws {
        let row = try await connection.query(
            "SELECT generation, position FROM reprise.checkpoint WHERE projection = 'tally' FOR UPDATE"
        ).first
        // Generation 0 without a position stands nobody knows where, and a guess would count twice.
        guard let row, try row.int("generation") > 0 || row["position"] != nil else {
            say("There is no checkpoint to start from: run 'reprise rebuild tally' first.")
            exit(1)
        }
        let text = row["position"]
        let last = text.flatMap { Position($0) }
        // A restored copy may end before this position, or go on differently. A text that is no
        // position must not pass for NULL: that would apply everything again.
        guard try last.map(ledger.holds) ?? (text == nil) else {
            say("The ledger has no event at \(text ?? ""): is it another one, or an older copy?")
            exit(1)
        }
        if try row.int("generation") != generation {
            // Whoever caches rows forgets them all here. This projector keeps none.
            generation = try row.int("generation")
            say("tally: generation \(try row.int("generation")) from \(text ?? "the start")")
        }
        let counts = try Counts(of: ledger, after: last)
        guard let position = counts.position else {
            isAtEnd = true
            return
        }
        isAtEnd = false
        try await counts.add(on: connection)
        try await connection.query(
            """
            UPDATE reprise.checkpoint SET position = $1, updated_at = pg_catalog.now()
            WHERE projection = 'tally'
            """,
            [.text("\(position)")]
        )
    }
}

/// Writes a line at once, also into a pipe.
private func say(_ line: String) {
    FileHandle.standardOutput.write(Data("\(line)\n".utf8))
}

/// What the next events come to.
private struct Counts {
    private var ids: [Int64: Int64] = [:]
    private var days: [String: Int64] = [:]
    /// Of the last of them; nil when there was none.
    private(set) var position: Position?

    init(of ledger: any Ledger, after position: Position?) throws {
        guard let end = try ledger.safePosition(), position.map({ $0 < end }) ?? true else {
            return
        }
        let batch = EventBatch()
        _ = try ledger.withReader(of: PositionSpan(after: position, through: end)) {
            try $0.fill(batch)
        }
        try batch.forEach { event in
            self.position = event.position
            guard event.type == EventType("Counted") else { return }
            ids[try event.payload.int64("id"), default: 0] += 1
            days["\(event.time.day)", default: 0] += 1
        }
    }

    func add(on connection: PostgresConnection) async throws {
        try await connection.query(
            """
            INSERT INTO public.tally (id, events, label)
            SELECT id, events, 'new'
            FROM unnest($1::bigint[], $2::bigint[]) AS counted (id, events)
            ON CONFLICT (id) DO UPDATE SET events = tally.events + excluded.events
            """,
            [.ints(Array(ids.keys)), .ints(Array(ids.values))]
        )
        try await connection.query(
            """
            INSERT INTO public.tally_day (day, events)
            SELECT day, events
            FROM unnest($1::date[], $2::bigint[]) AS counted (day, events)
            ON CONFLICT (day) DO UPDATE SET events = tally_day.events + excluded.events
            """,
            [.texts(Array(days.keys)), .ints(Array(days.values))]
        )
    }
}
