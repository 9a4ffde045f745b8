import Postgres
import ProjectionKit
import Testing

@testable import ReadModels

@Suite("Position templates")
struct PositionTemplateTests {
    @Test(
        "a format writes what it reads",
        arguments: [
            (PositionFormat.number, Position(1), "1"),
            (.number, Position(UInt64(Int64.max)), "9223372036854775807"),
            (.pair, Position(701, 3), "'00000000000000000701:0000000000000000003'"),
            (.pair, Position(.max, 0), "'18446744073709551615:0000000000000000000'"),
            (
                .text, Position(1, 2, 3),
                "'0000000000000001-0000000000000002-0000000000000003'"
            ),
        ]
    )
    func formats(format: PositionFormat, position: Position, literal: String) {
        #expect(format.literal(of: position) == literal)
        #expect(format.position(from: literal.replacing("'", with: "")) == position)
    }

    @Test("the beginning is zero, and NULL as a text")
    func beginning() {
        #expect(PositionFormat.number.literal(of: nil) == "0")
        #expect(
            PositionFormat.pair.literal(of: nil) == "'00000000000000000000:0000000000000000000'"
        )
        #expect(PositionFormat.text.literal(of: nil) == "NULL")
    }

    @Test(
        "a position that a format cannot hold has no literal",
        arguments: [
            (PositionFormat.number, Position(1, 2)), (.number, Position(1, 0, 3)),
            (.number, Position(1 << 63)), (.pair, Position(1, 2, 3)), (.pair, Position(1, 1 << 63)),
        ]
    )
    func misfits(format: PositionFormat, position: Position) {
        #expect(format.literal(of: position) == nil)
    }

    @Test(
        "what is no position is not read as one",
        arguments: [
            (PositionFormat.number, ""), (.number, "-1"), (.number, "+1"), (.number, "1.0"),
            (.number, "18446744073709551616"), (.number, "1:2"), (.number, "٣"), (.pair, "7"),
            (.pair, "1:2:3"), (.pair, ":"), (.pair, "1:-2"), (.text, "7"), (.text, ""),
        ]
    )
    func nonsense(format: PositionFormat, text: String) {
        #expect(format.position(from: text) == nil)
    }

    @Test("leading zeros are read over")
    func leadingZeros() {
        #expect(PositionFormat.number.position(from: "0000000000000000042") == Position(42))
        #expect(PositionFormat.pair.position(from: "0") == Position(0))
    }

    @Test("marks are filled in as SQL, quotes and all")
    func marks() throws {
        let template = try PositionTemplate(
            read: "SELECT p FROM s.t WHERE n = {projection} FOR UPDATE",
            write: "UPDATE s.t SET p = {position}, g = {generation} WHERE n = {projection}",
            format: .number
        )
        #expect(template.reading(of: "o'n") == "SELECT p FROM s.t WHERE n = 'o''n' FOR UPDATE")
        let batch = try #require(template.writing(Position(7), generation: 3, of: "on"))
        // Twice inside a literal: of EXECUTE, and of DO.
        #expect(batch.contains("SET p = 7, g = 3 WHERE n = ''''on''''"))
        #expect(template.writing(Position(7, 1), generation: 3, of: "on") == nil)
    }

    @Test(
        "a template that cannot work is refused by its field",
        arguments: [
            (" ", "UPDATE t SET p = {position}", "read", "is empty"),
            ("SELECT 1", "", "write", "is empty"),
            ("SELECT 1", "UPDATE t SET p = 1", "write", "does not say where {position} goes"),
            ("SELECT {position}", "UPDATE t SET p = {position}", "read", "cannot know {position}"),
            ("SELECT {generation}", "SET {position}", "read", "cannot know {generation}"),
            ("SELECT '\0'", "SET {position}", "read", "holds a zero byte"),
        ]
    )
    func complaints(read: String, write: String, field: String, reason: String) {
        #expect(throws: PositionTemplate.Complaint(field, reason)) {
            try PositionTemplate(read: read, write: write, format: .text)
        }
    }

    @Test(
        "a preset that lacks something, or has too much, says which setting",
        arguments: [
            (PositionPreset.pekko, PositionPreset.Row(name: "a"), "key"),
            (.marten, .init(name: "a", key: "b"), "key"),
            (.eventsourcing, .init(name: "a"), "table"), (.marten, .init(name: ""), "name"),
            (.marten, .init(name: "{position}"), "name"), (.marten, .init(name: "a\0"), "name"),
            (.marten, .init(name: "a", format: .text), "format"),
            (.emmett, .init(name: "a", format: .text), "format"),
        ]
    )
    func presets(preset: PositionPreset, row: PositionPreset.Row, field: String) {
        let error = #expect(throws: PositionTemplate.Complaint.self) {
            try preset.template(for: row)
        }
        #expect(error?.field == field)
    }

    @Test("a projector's name is a text, whatever it holds")
    func hostileName() throws {
        let template = try PositionPreset.marten.template(for: .init(name: #"o'n\"#))
        #expect(template.read.contains(#"WHERE name = E'o''n\\' FOR UPDATE"#))
    }

    @Test(
        "a table's name is read as SQL would read it",
        arguments: [
            ("public.orders", "public", "orders"), ("Public.Orders", "public", "orders"),
            (#""S 1"."We""ird.T bl""#, "S 1", #"We"ird.T bl"#), (#"a."""""#, "a", #"""#),
            ("größe.tische", "größe", "tische"),
        ]
    )
    func tableNames(text: String, schema: String, name: String) {
        #expect(QualifiedName(sql: text) == QualifiedName(schema: schema, name: name))
    }

    @Test(
        "what is no schema and name is not read as one",
        arguments: [
            "", "orders", "a.", ".b", "a.b.c", #"a."b"#, #"a."""#, "a b.c", "1a.b", "a.b; DROP",
            "a.b ", #""a"b.c"#,
        ]
    )
    func noTableNames(text: String) {
        #expect(QualifiedName(sql: text) == nil)
    }
}
