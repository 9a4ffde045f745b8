import Postgres
package import ProjectionKit

/// What rows are made of: which ledger, and how much of it.
package struct RowOrigin: Equatable, Sendable {
    /// The ledger's identity.
    package let ledger: String
    /// Where the rows stand; nil before the first event.
    package let position: Position?
    /// Events up to there that are in the rows.
    package let events: Int
    /// The ledger's digest of these events; nil where it gives none.
    package let digest: UInt64?

    /// Makes one.
    package init(ledger: String, position: Position?, events: Int, digest: UInt64?) {
        self.ledger = ledger
        self.position = position
        self.events = events
        self.digest = digest
    }
}

/// What is recorded of how a generation's rows came to be; a part is nil where nobody recorded it.
package struct Provenance: Equatable, Sendable {
    /// The events up to a position, the rows' own or one before it.
    package struct Count: Equatable, Sendable {
        /// The position.
        package let position: Position
        /// How many events up to it are in the rows.
        package let events: Int
        /// The ledger's digest of them.
        package let digest: UInt64?
    }

    /// The ledger's identity.
    package let ledger: String?
    /// The program that made the rows, or continued them last.
    package let program: String?
    /// What was counted last.
    package let count: Count?

    /// What was counted last, with the ledger in which it was; nil where a part of it was not recorded.
    package var past: RowOrigin? {
        guard let ledger, let count else { return nil }
        return RowOrigin(
            ledger: ledger,
            position: count.position,
            events: count.events,
            digest: count.digest
        )
    }

    /// The columns that ``init(_:)`` reads, of a generation `g` and a checkpoint `c` that may be
    /// null: what is known of the live rows counts more.
    static let columns = """
        coalesce(c.ledger, g.ledger) AS ledger, coalesce(c.program, g.built_by) AS program,
        \(counted("counted_position")), \(counted("counted_events")), \(counted("digest"))
        """

    private static func counted(_ column: String) -> String {
        "CASE WHEN c.counted_position IS NULL THEN g.\(column) ELSE c.\(column) END AS \(column)"
    }

    /// Reads ``columns``.
    init(_ row: QueryRow) throws {
        ledger = row["ledger"]
        program = row["program"]
        let events = try row.optionalInt("counted_events").map { Int($0) }
        let digest = try row.optionalInt("digest").map { UInt64(bitPattern: $0) }
        count = row["counted_position"].flatMap { Position($0) }.flatMap { position in
            events.map { Count(position: position, events: $0, digest: digest) }
        }
    }
}

/// A generation that another program made, and what this one was to do with it.
package struct OtherProgram: Equatable, Sendable {
    /// The projection.
    package let projection: String
    /// The generation.
    package let generation: Int
    /// The command, a verb: `follow` or `swap`.
    package let command: String

    /// Makes one.
    package init(projection: String, generation: Int, command: String) {
        self.projection = projection
        self.generation = generation
        self.command = command
    }

    /// What is the case, a sentence.
    var fact: String {
        "Another program made generation \(generation) of '\(projection)', and its reducer may fold "
            + "otherwise: this program does not \(command) it."
    }
}

extension RowOrigin {
    /// Values for `ledger`, `counted_position`, `counted_events` and `digest`.
    var values: [PostgresValue] {
        [
            .text(ledger), position.map { .text("\($0)") } ?? .null,
            position == nil ? .null : .int(Int64(events)),
            digest.map { .int(Int64(bitPattern: $0)) } ?? .null,
        ]
    }
}

extension Bookkeeping {
    /// Moves the checkpoint to a generation, and takes along how its rows came to be.
    static func checkpointWrite(of projection: String, generation: Int) -> String {
        let values = "ledger, built_by, counted_position, counted_events, digest"
        return """
            INSERT INTO reprise.checkpoint AS c (projection, generation, position, ledger, program,
                counted_position, counted_events, digest)
            SELECT projection, generation, position, \(values) FROM reprise.generation
            WHERE projection = \(SQLText.literal(projection)) AND generation = \(generation)
            ON CONFLICT (projection) DO UPDATE SET (generation, position, updated_at, ledger, program,
                counted_position, counted_events, digest) = ROW (excluded.generation,
                excluded.position, excluded.updated_at, excluded.ledger, excluded.program,
                excluded.counted_position, excluded.counted_events, excluded.digest)
            """
    }

    /// Gives a generation that leaves what is known of the live rows.
    static func provenanceWrite(of projection: String, generation: Int) -> String {
        """
        UPDATE reprise.generation AS w SET (ledger, built_by, counted_position, counted_events, digest)
            = (SELECT s.ledger, s.program, s.counted_position, s.counted_events, s.digest FROM (
                SELECT \(Provenance.columns) FROM reprise.generation AS g
                LEFT JOIN reprise.checkpoint AS c USING (projection, generation)
                WHERE g.projection = w.projection AND g.generation = w.generation) AS s)
        WHERE projection = \(SQLText.literal(projection)) AND generation = \(generation)
        """
    }

    /// How the rows of a generation came to be.
    ///
    /// - Throws: The server's error.
    static func provenance(
        of generation: Int,
        of projection: String,
        on connection: PostgresConnection
    ) async throws -> Provenance? {
        try await connection.query(
            """
            SELECT \(Provenance.columns)
            FROM reprise.generation AS g
            LEFT JOIN reprise.checkpoint AS c USING (projection, generation)
            WHERE projection = $1 AND generation = $2
            """,
            [.text(projection), .int(Int64(generation))]
        ).first.map { try Provenance($0) }
    }
}
