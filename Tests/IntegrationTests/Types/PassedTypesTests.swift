import Foundation
import Ledgers
import Postgres
import ProjectionKit
import ReadModels
import Rebuilder
import TestSupport
import Testing

@Suite("Arrays, and types whose values travel as text")
struct PassedTypesTests {
    private func sampled(_ index: Int) -> NewEvent {
        NewEvent(stream: "s\(index)", type: "Sampled", data: #"{"index": \#(index)}"#)
    }

    @Test("E10: arrays of every scalar, citext and xml arrive as SQL writes them, also by follow")
    func arrays() async throws {
        try await withRebuildScene { scene in
            try scene.append((0..<3).map(sampled))
            _ = try await scene.rebuild(ArrayRows.self)
            try await scene.database.execute(
                "CREATE TABLE public.expected AS TABLE public.array_row WITH NO DATA"
            )
            for literals in ArrayRow.literals {
                try await scene.database.execute(
                    "INSERT INTO public.expected VALUES (\(literals), 1)"
                )
            }
            #expect(
                try await scene.rows(of: "public.array_row") == scene.rows(of: "public.expected")
            )
            // Follow reads each of them, and writes them again.
            try scene.append((0..<3).map(sampled))
            try await scene.follow(ArrayRows.self)
            try await scene.database.execute("UPDATE public.expected SET changes = 2")
            #expect(
                try await scene.rows(of: "public.array_row") == scene.rows(of: "public.expected")
            )
            _ = try await scene.rebuild(ArrayRows.self)
            #expect(
                try await scene.rows(of: "public.array_row") == scene.rows(of: "public.expected")
            )
        }
    }

    @Test(
        "E10: a text of any type is stored as its value, by swap, follow, truncate and resumption"
    )
    func passed() async throws {
        try await withRebuildScene { scene in
            try scene.append([sampled(0), sampled(1), sampled(2)])
            _ = try await scene.rebuild(PassedRows.self)
            func expect(_ changes: Int) async throws {
                for (column, value) in PassedRow.values {
                    let rows = try await scene.database.query(
                        "SELECT id FROM public.passed_row WHERE \(column)::text = $1 AND changes = $2",
                        [.text(value), .int(Int64(changes))]
                    )
                    let empty = try await scene.database.query(
                        "SELECT FROM public.passed_row WHERE id = 0 AND \(column) IS NULL"
                    )
                    #expect(rows.rows.count == 1 && empty.rows.count == 1, "\(column)")
                }
            }
            try scene.append([NewEvent(stream: "s2", type: "Removed", data: #"{"index": 2}"#)])
            try await scene.follow(PassedRows.self)
            try await expect(1)
            try scene.append([sampled(1)])
            try await scene.follow(PassedRows.self)
            try await expect(2)
            var options = RebuildOptions()
            options.strategy = .truncate
            _ = try await scene.rebuild(PassedRows.self, options: options)
            try await expect(2)
            try scene.append([sampled(1)])
            options.strategy = .swap
            options.resumes = true
            _ = try await scene.rebuild(PassedRows.self, options: options)
            try await expect(3)
        }
    }

    @Test(
        "E10: a text that is no such value stops the rebuild, and the message names the row without it",
        arguments: [
            ("inet", "10.x"), ("bit", "10101"), ("positive", "[0,1)"), ("int4range", "[5,1]"),
        ]
    )
    func refused(column: String, value: String) async throws {
        try await withRebuildScene { scene in
            try scene.append([sampled(0), sampled(1)])
            _ = try await scene.rebuild(PassedRows.self)
            try scene.append([
                NewEvent(
                    stream: "s1",
                    type: "Spoiled",
                    data: #"{"index": 1, "column": "\#(column)", "value": "\#(value)"}"#
                )
            ])
            for follows in [true, false] {
                let error = await #expect(throws: ReadModelError.self) {
                    if follows {
                        try await scene.follow(PassedRows.self)
                    } else {
                        _ = try await scene.rebuild(PassedRows.self)
                    }
                }
                let text = try #require(error).description
                #expect(text.contains("passed_row") && !text.contains(value), "\(text)")
                #expect(text.contains("Its last change came with"), "\(text)")
            }
            #expect(try await scene.database.count("public.passed_row") == 2)
        }
    }

    /// Texts of XML, as legacy systems write them.
    struct Documents: Projection {
        struct Row: TableRow {
            var id: Int64
            var body: String
            var again: String
            var key: Int64 { id }
            static let table = TableDefinition<Row>("document", key: "id") {
                Column("id", \.id)
                Column("body", \.body)
                Column("again", \.again, as: "xml")
            }
        }
        static let name = "documents"
        static let schema: String? = """
            CREATE TABLE document (id bigint PRIMARY KEY, body xml NOT NULL, again xml NOT NULL)
            """
        var rows = Table<Row>()
        mutating func reduce(_ event: borrowing Event) throws {
            let id = try event.payload.int64("index")
            let text = PassedTypesTests.documents[Int(id)]
            rows[id] = Row(id: id, body: text, again: text)
        }
    }

    private static let documents = [
        #"<?xml version="1.0" encoding="ISO-8859-1"?><a>é</a>"#,
        "<?xml version='1.0' encoding='UTF-16' standalone='yes'?><a>ü€</a>",
        "<?xml version='1.0'?><a encoding='latin1'>é</a>", "<a>é</a>", "é and no element",
    ]

    @Test("E10: an XML document means its text, whatever encoding it declares")
    func encodings() async throws {
        try await withRebuildScene { scene in
            try scene.append(Self.documents.indices.map(sampled))
            _ = try await scene.rebuild(Documents.self)
            for (id, text) in Self.documents.enumerated() {
                // As the type prints it, which is without the name of an encoding; a cast is not.
                let row = try await scene.database.query(
                    """
                    SELECT format('%s', body) = format('%s', $2::xml) AS is_right,
                        format('%s', again) = format('%s', $2::xml) AS passed
                    FROM public.document WHERE id = $1
                    """,
                    [.int(Int64(id)), .text(text)]
                ).first
                #expect(row?["is_right"] == "t" && row?["passed"] == "t", "\(text)")
            }
        }
    }

    /// A declaration that does not match its table.
    struct Mismatched: Projection {
        struct Row: TableRow {
            var id: Int64
            var address: String
            var place: String
            var key: Int64 { id }
            static let table = TableDefinition<Row>("mismatched", key: "id") {
                Column("id", \.id)
                Column("address", \.address)
                Column("place", \.place, as: "cidr")
            }
        }
        static let name = "mismatched"
        static let schema: String? = """
            CREATE TABLE mismatched (id bigint PRIMARY KEY, address inet NOT NULL, place inet NOT NULL)
            """
        var rows = Table<Row>()
        mutating func reduce(_ event: borrowing Event) {}
    }

    @Test("E10: a plan says how to declare a column of another type, and which type the table has")
    func mismatch() async throws {
        try await withRebuildScene { scene in
            let refusals = try await scene.plan(Mismatched.self).refusals
            #expect(refusals.contains { $0.contains(#"Declare it as: "inet" to send its text"#) })
            #expect(refusals.contains { $0.contains(#"as: "cidr"; the table has inet"#) })
        }
    }
}
