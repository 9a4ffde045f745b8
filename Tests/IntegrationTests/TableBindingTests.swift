internal import Ledgers
internal import Postgres
internal import ProjectionKit
internal import ReadModels
internal import Rebuilder
internal import TestSupport
internal import Testing

@Suite("The binding of row types to tables", .serialized)
struct TableBindingTests {
    @Test("a table that fits is neither refused nor warned about")
    func fitting() async throws {
        let plan = try await plan(Self.columns)
        #expect(plan.refusals == [])
        #expect(plan.warnings == [])
    }

    @Test(
        "a column that does not fit is refused at plan time with both sides named",
        arguments: [
            // The table's column, and what the refusal says.
            Misfit("amount integer NOT NULL", "sample.amount", "Int64", "bigint", "integer"),
            Misfit("amount numeric(12,2) NOT NULL", "sample.amount", "Int64", "numeric(12,2)"),
            Misfit("amount bigint[] NOT NULL", "sample.amount", "Int64", "bigint[]"),
            Misfit("label varchar(9)[] NOT NULL", "sample.label", "String", "character varying(9)"),
            Misfit("label bytea NOT NULL", "sample.label", "String", "text", "bytea"),
            Misfit("label name NOT NULL", "sample.label", "String", "name"),
            Misfit("note text NOT NULL", "sample.note", "Optional<String>", "text NOT NULL"),
            Misfit("note required_text", "sample.note", "Optional<String>", "required_text"),
            Misfit("document text NOT NULL", "sample.document", "JSONText", "json", "text"),
            Misfit("label json NOT NULL", "sample.label", "String", "text", "json"),
            Misfit("mood dull_mood NOT NULL", "sample.mood", "Mood", "'calm'", "dull_mood"),
            Misfit("mood bigint NOT NULL", "sample.mood", "Mood", "enum", "bigint"),
            Misfit("label mood NOT NULL", "sample.label", "String", "text", "mood"),
            Misfit(
                "at timestamptz NOT NULL",
                "sample.at",
                "Day",
                "date",
                "timestamp with time zone"
            ),
            Misfit(
                "amount bigint GENERATED ALWAYS AS (id * 2) STORED NOT NULL",
                "sample.amount",
                "Int64",
                "generates"
            ),
            Misfit("label \"uuid\" NOT NULL", "sample.label", "String", "uuid"),
        ]
    )
    func misfit(_ misfit: Misfit) async throws {
        let name = misfit.column.prefix { $0 != " " }
        let columns = Self.columns.map { $0.hasPrefix("\(name) ") ? misfit.column : $0 }
        #expect(columns != Self.columns)
        let plan = try await plan(columns)
        #expect(plan.refusals.count == 1)
        for part in misfit.said {
            #expect(plan.refusals.first?.contains(part) == true, "\(part): \(plan.refusals)")
        }
    }

    @Test("a type of the user's that is only named like a built-in one is refused")
    func namesake() async throws {
        let column = "label public.\"text\" NOT NULL"
        let columns = Self.columns.map { $0.hasPrefix("label ") ? column : $0 }
        let plan = try await plan(columns, setup: "CREATE TYPE public.\"text\" AS (a integer)")
        #expect(plan.refusals.count == 1)
        #expect(plan.refusals.first?.contains("sample.label") == true, "\(plan.refusals)")
    }

    @Test("a column that the table does not have is refused")
    func missing() async throws {
        let plan = try await plan(Self.columns.filter { !$0.hasPrefix("note ") })
        #expect(
            plan.refusals == [
                "sample.note: the row type declares it as Optional<String>, and the table has no "
                    + "such column."
            ]
        )
    }

    @Test("names that only Swift takes for the same are different columns")
    func unicodeTwins() async throws {
        let plan = try await plan(
            Self.columns + ["\"\u{e9}\" integer", "\"e\u{301}\" integer"]
        )
        #expect(plan.refusals == [])
        #expect(plan.warnings.count == 2)
    }

    @Test("C12: an undeclared column is refused or warned about, as it needs a value")
    func undeclared() async throws {
        var plan = try await plan(Self.columns + ["more integer NOT NULL"])
        #expect(plan.refusals.count == 1)
        #expect(
            plan.refusals.first?.contains("sample.more: the table has integer NOT NULL") == true
        )

        plan = try await self.plan(Self.columns + ["more integer"])
        #expect(plan.refusals == [])
        #expect(plan.warnings.contains { $0.hasPrefix("sample.more: ") && $0.contains("NULL") })

        plan = try await self.plan(
            Self.columns + [
                "more integer NOT NULL DEFAULT 1",
                "doubled bigint GENERATED ALWAYS AS (id * 2) STORED",
            ]
        )
        #expect(plan.refusals == [])
        #expect(
            plan.warnings == [
                "sample.more: the row type does not declare it, so each rebuild gives every row the "
                    + "column's default."
            ]
        )

        plan = try await self.plan(
            Self.columns + ["number bigint GENERATED BY DEFAULT AS IDENTITY"]
        )
        #expect(plan.refusals == [])
        #expect(
            plan.warnings == [
                "sample.number: the row type does not declare it, so each rebuild numbers the rows "
                    + "anew."
            ]
        )
    }

    @Test("a key that no unique index covers is warned about")
    func keyWithoutIndex() async throws {
        let keyless = Self.columns.map { $0.hasPrefix("id ") ? "id bigint NOT NULL" : $0 }
        let warned = try await plan(keyless)
        #expect(warned.refusals == [])
        #expect(warned.warnings.contains { $0.hasPrefix("sample: ") && $0.contains("(id)") })

        let partial = "CREATE UNIQUE INDEX ON sample (id) WHERE id > 0"
        #expect(try await plan(keyless, indexes: partial).warnings.contains { $0.contains("(id)") })
        let other = "CREATE UNIQUE INDEX ON sample (id, label)"
        #expect(try await plan(keyless, indexes: other).warnings.contains { $0.contains("(id)") })
        let expression = "CREATE UNIQUE INDEX ON sample (id, (amount + 1))"
        #expect(
            try await plan(keyless, indexes: expression).warnings.contains { $0.contains("(id)") }
        )
        let exact = "CREATE UNIQUE INDEX ON sample (id) INCLUDE (label)"
        #expect(try await plan(keyless, indexes: exact).warnings == [])
    }

    @Test("all misfits are named at once")
    func several() async throws {
        let plan = try await plan([
            "id integer PRIMARY KEY", "label text", "note text NOT NULL", "amount bigint NOT NULL",
            "document jsonb NOT NULL", "mood mood NOT NULL", "more uuid NOT NULL",
        ])
        let places = ["sample.id", "sample.note", "sample.at", "sample.more"]
        #expect(plan.refusals.count == places.count, "\(plan.refusals)")
        for place in places {
            #expect(plan.refusals.contains { $0.hasPrefix("\(place):") }, "\(place)")
        }
    }

    @Test("a rebuild of a table that does not fit throws before an event is read")
    func rebuild() async throws {
        let schema = Self.schema(Self.columns.map { $0.hasPrefix("at ") ? "at text" : $0 }, "")
        try await withRebuildScene { scene in
            // The event would be refused.
            try scene.append([NewEvent(stream: "a", type: "Sampled", data: "{}")])
            await #expect(throws: ReadModelError.self) {
                try await GivenSQL.$schema.withValue(schema) {
                    _ = try await scene.rebuild(Samples.self)
                }
            }
            #expect(
                try await scene.database.count("pg_namespace WHERE nspname LIKE '%\\_\\_g%'") == 0
            )
        }
    }

    private static let columns = [
        "id bigint PRIMARY KEY", "label text NOT NULL", "note varchar(20)",
        "amount bigint NOT NULL",
        "document jsonb NOT NULL", "at date NOT NULL", "mood mood NOT NULL",
    ]

    private static func schema(_ columns: [String], _ indexes: String) -> String {
        "CREATE TABLE sample (\(columns.joined(separator: ", "))); \(indexes)"
    }

    private func plan(
        _ columns: [String],
        indexes: String = "",
        setup: String = ""
    ) async throws -> ReadModelPlan {
        try await withRebuildScene { scene in
            try await scene.database.execute(
                """
                CREATE TYPE public.mood AS ENUM ('calm', 'wild', 'unused');
                CREATE TYPE public.dull_mood AS ENUM ('wild', 'Calm');
                CREATE DOMAIN public.required_text AS text NOT NULL;
                \(setup)
                """
            )
            let before = try await scene.database.catalogue()
            let plan = try await GivenSQL.$schema.withValue(Self.schema(columns, indexes)) {
                try await scene.plan(Samples.self)
            }
            #expect(try await scene.database.catalogue() == before)
            return plan
        }
    }
}

struct Misfit: Sendable, CustomTestStringConvertible {
    let column: String
    let said: [String]

    init(_ column: String, _ said: String...) {
        self.column = column
        self.said = said
    }

    var testDescription: String { column }
}

private struct Sample: TableRow {
    enum Mood: String, ColumnEnum { case calm, wild }

    var id: Int64
    var label = ""
    var note: String?
    var amount: Int64 = 0
    var document = JSONText("{}")
    var at = Day(daysSince1970: 0)
    var mood = Mood.calm
    var key: Int64 { id }

    static let table = TableDefinition<Sample>("sample", key: "id") {
        Column("id", \.id)
        Column("label", \.label)
        Column("note", \.note)
        Column("amount", \.amount)
        Column("document", \.document)
        Column("at", \.at)
        Column("mood", \.mood)
    }
}

private struct Samples: Projection {
    static let name = "samples"
    static var schema: String? { GivenSQL.schema }
    var rows = Table<Sample>()

    mutating func reduce(_ event: borrowing Event) throws {
        let id = try event.payload.int64("id")
        rows[id] = Sample(id: id)
    }
}
