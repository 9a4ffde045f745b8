internal import Postgres
internal import Testing

@Suite("Text in statements")
struct PostgresTextTests {
    @Test(
        "identifiers are always quoted",
        arguments: [
            ("id", "\"id\""), ("Sel\"ect", "\"Sel\"\"ect\""), ("", "\"\""),
            ("\"\u{301}x", "\"\"\"\u{301}x\""), ("a b\\", "\"a b\\\""),
        ]
    )
    func identifiers(name: String, sql: String) {
        #expect(Array(SQLText.identifier(name).utf8) == Array(sql.utf8))
    }

    @Test(
        "literals survive quotes and backslashes",
        arguments: [
            ("it's", "'it''s'"), ("a\\b'", "E'a\\\\b'''"), ("", "''"),
            ("'\u{301}", "'''\u{301}'"),
        ]
    )
    func literals(value: String, sql: String) {
        #expect(Array(SQLText.literal(value).utf8) == Array(sql.utf8))
    }

    @Test("a qualified name is quoted in statements and plain in messages")
    func qualifiedNames() {
        let name = QualifiedName(schema: "S 1", name: "t\"")
        #expect(name.sql == "\"S 1\".\"t\"\"\"")
        #expect(name.description == "S 1.t\"")
    }

    @Test(
        "values travel as the text that the server reads",
        arguments: [
            (PostgresValue.null, nil), (true, "t"), (false, "f"), (-5, "-5"), ("x", "x"),
            (.bytes([]), "\\x"), (.bytes([0, 171, 255]), "\\x00abff"),
            (.ints([]), "{}"), (.ints([1, -2]), "{1,-2}"),
            (.texts([]), "{}"), (.texts(["a b", "", "NULL"]), "{\"a b\",\"\",\"NULL\"}"),
            (.texts(["a\"b\\c", "{,}"]), "{\"a\\\"b\\\\c\",\"{,}\"}"),
        ] as [(PostgresValue, String?)]
    )
    func values(value: PostgresValue, text: String?) {
        #expect(value.wireText == text)
    }
}
