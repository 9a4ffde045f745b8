internal import Ledgers
internal import ProjectionKit
internal import ReadModels
internal import Rebuilder

/// A plan as `plan --json` prints it; the names are stable.
struct PlanOutline: Encodable {
    struct TypeLine: Encodable {
        let type: String
        let events: Int
    }

    struct TableLine: Encodable {
        let name: String
        let columns: Int
        let liveRows: Int?
        let liveBytes: Int64?
    }

    let projection: String
    let strategy: String
    let generation: Int
    let homeSchema: String
    let liveGeneration: Int?
    let livePosition: String?
    let adoptsLive: Bool
    let events: Int
    let buckets: Int
    let bucketWidthMs: Int64
    /// When the first bucket begins and the last one ends.
    let from: String?
    let to: String?
    let types: [TypeLine]
    let tables: [TableLine]
    let views: [String]
    let warnings: [String]
    let refusals: [String]

    init(_ plan: RebuildPlan, bucketWidth: Int64) {
        let model = plan.readModel
        projection = model.projection
        strategy = model.strategy.rawValue
        generation = model.generation
        homeSchema = model.homeSchema
        liveGeneration = model.liveGeneration
        livePosition = model.livePosition
        adoptsLive = model.adoptsLive
        events = plan.events
        buckets = plan.buckets
        bucketWidthMs = bucketWidth
        from = plan.bucketRange.map { "\(Timestamp(milliseconds: $0.lowerBound.start))" }
        to = plan.bucketRange.map { "\(Timestamp(milliseconds: $0.upperBound.end))" }
        types = plan.types.map { TypeLine(type: $0.type, events: $0.events) }
        tables = model.tables.map {
            TableLine(
                name: $0.name,
                columns: $0.columns,
                liveRows: $0.liveRows,
                liveBytes: $0.liveBytes
            )
        }
        views = model.views
        warnings = model.warnings
        refusals = model.refusals
    }
}

extension PlanOutline {
    /// The plan for people.
    var text: String {
        var fields = FieldList()
        fields.add("ledger", ledgerLine)
        fields.add("types", typeLines)
        fields.add("live", liveLine)
        fields.add("strategy", strategyLine)
        fields.add("tables", tableLines)
        fields.add("views", views.map { "\(SQLName.plain($0)) is pointed at the new tables" })
        fields.add("warning", warnings)
        fields.add("refused", refusals)
        return "\(headline)\n\(fields.text)\(next)"
    }

    private var headline: String {
        guard refusals.isEmpty else { return "\(projection): a rebuild is refused." }
        return strategy == Strategy.truncate.rawValue
            ? "\(projection): generation \(generation) would replace the rows in place."
            : "\(projection): generation \(generation) would be built in the schema "
                + "\(homeSchema) and swapped in."
    }

    private var ledgerLine: String {
        guard let from, let to else { return "no events" }
        return "\(Figures.count(events, "event")) in \(Figures.count(buckets, "bucket")) of "
            + "\(Figures.width(milliseconds: bucketWidthMs)), \(from) to \(to)"
    }

    private var typeLines: [String] {
        let shown = 10
        var rows = types.prefix(shown).map { [Figures.count($0.events), $0.type] }
        if types.count > shown {
            let rest = types.dropFirst(shown)
            rows.append([
                Figures.count(rest.map(\.events).reduce(0, +)), "of \(rest.count) other types",
            ])
        }
        return Columns.lines(rows, right: [0])
    }

    private var liveLine: String {
        guard let liveGeneration else {
            return adoptsLive
                ? "tables that were made by hand; they become generation 0" : "nothing yet"
        }
        return "generation \(liveGeneration)" + (livePosition.map { " at position \($0)" } ?? "")
    }

    private var strategyLine: String {
        strategy == Strategy.truncate.rawValue
            ? "truncate: the rows are replaced in one transaction; readers wait for COPY and indexes"
            : "swap: new tables change places with the live ones; readers wait for milliseconds"
    }

    private var tableLines: [String] {
        Columns.lines(
            tables.map { table in
                [
                    SQLName.plain(table.name), Figures.count(table.columns, "column"),
                    table.liveRows.map { "about \(Figures.count($0)) rows" } ?? "not there yet",
                    table.liveBytes.map { Figures.mebibytes(Int($0)) } ?? "",
                ]
            },
            right: [3]
        )
    }

    private var next: String {
        refusals.isEmpty
            ? "Next: reprise rebuild \(projection)" : "Next: mend what is refused, then plan again."
    }
}
