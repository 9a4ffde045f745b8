import Postgres

/// Where a generation is in its life.
///
/// The raw values stand in `reprise.generation.state`.
package enum GenerationState: String, CaseIterable, Sendable {
    /// Its tables are being loaded. When no run owns it any more the next run drops it.
    case building
    /// Complete and checked, in its home schema, waiting for the cut-over.
    case ready
    /// Complete, but a check says no. It can be looked at until the next run drops it.
    case rejected
    /// What readers see.
    case live
    /// It was live; its tables are whole, in its home schema.
    case retired
    /// It was live until its rows were replaced in place; nothing of it is left.
    case replaced
    /// Its tables are dropped.
    case dropped
}

/// A row of `reprise.generation` with its tables.
struct GenerationRecord: Sendable {
    /// A row of `reprise.generation_table`.
    struct TableRecord: Sendable {
        let name: String
        let oid: UInt32
        var rowCount: Int?
        var isMaterializedView = false
        /// What `schema.sql` gave the table, by ``TableFeature/key``; nil when no file made it.
        var shape: [String: String]?
        /// What it gets when it goes live; none while it is.
        var foreignKeys: [OutgoingForeignKey] = []
    }

    let projection: String
    let number: Int
    var state: GenerationState
    let liveSchema: String
    var homeSchema: String
    var homeSchemaOID: UInt32?
    var runID: Int64?
    var position: String?
    var events: Int?
    /// The transaction that loaded its rows, with the epoch; nil before that, and when it was adopted.
    var loadXID: Int64?
    /// ``LiveShape/digest(of:on:)`` of the live tables it was built beside; nil when there were none.
    var liveShape: String?
    /// The program that builds it; nil when it was adopted.
    ///
    /// Only to be stored, as the next one.
    var builtBy: String?
    /// What it is built from; nil when it was adopted.
    var origin: RowOrigin?
    var liveSince: String?
    /// 1 for the one that was retired last.
    ///
    /// A generation that was rolled back has a higher number than the one that replaced it, so
    /// numbers do not tell.
    var retiredRank = Int.max
    var tables: [TableRecord]
    /// Materialized views over the tables, which were filled from them and move with them.
    var materializedViews: [TableRecord] = []

    /// Makes the record of a generation that is not stored yet.
    init(
        projection: String,
        number: Int,
        state: GenerationState,
        liveSchema: String,
        homeSchema: String,
        homeSchemaOID: UInt32? = nil,
        runID: Int64? = nil,
        tables: [TableRecord] = []
    ) {
        self.projection = projection
        self.number = number
        self.state = state
        self.liveSchema = liveSchema
        self.homeSchema = homeSchema
        self.homeSchemaOID = homeSchemaOID
        self.runID = runID
        self.tables = tables
    }

    init(projection: String, number: Int, row: QueryRow, tables: [TableRecord]) throws {
        self.projection = projection
        self.number = number
        let state = try row.string("state")
        guard let state = GenerationState(rawValue: state) else {
            throw ReadModelError.changedMeanwhile(
                projection: projection,
                reason: "generation \(number) is in state '\(state)'"
            )
        }
        self.state = state
        liveSchema = try row.string("live_schema")
        homeSchema = try row.string("home_schema")
        homeSchemaOID = try row.optionalInt("home_schema_oid").map { UInt32($0) }
        runID = try row.optionalInt("run_id")
        position = row["position"]
        events = try row.optionalInt("events").map { Int($0) }
        loadXID = try row.optionalInt("load_xid")
        liveShape = row["live_shape"]
        liveSince = row["live_since"]
        retiredRank = Int(try row.int("retired_rank"))
        self.tables = tables.filter { !$0.isMaterializedView }
        materializedViews = tables.filter(\.isMaterializedView)
    }

    /// The same with another home where the schema of that name is not the one that was recorded.
    func withHomeOfItsOwn(on connection: PostgresConnection) async throws -> GenerationRecord {
        let found = try await connection.query(
            "SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = $1",
            [.text(homeSchema)]
        ).first
        let recorded = homeSchemaOID.map { Int64($0) }
        guard let oid = try found?.int("oid"), oid != recorded else { return self }
        var moved = self
        moved.homeSchema = try await HomeSchema.free(
            for: projection,
            generation: number,
            on: connection
        )
        return moved
    }

    /// The number of the generation to build next.
    static func next(after records: [GenerationRecord], live: LiveTables) -> Int {
        max(records.map(\.number).max() ?? 0, live.generation?.number ?? 0) + 1
    }

    /// The OIDs of its tables.
    var tableOIDs: [Int64] { tables.map { Int64($0.oid) } }

    /// The OIDs of everything that moves.
    var relationOIDs: [Int64] { (tables + materializedViews).map { Int64($0.oid) } }
}
