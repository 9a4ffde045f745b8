import Testing

@testable import ReadModels

@Suite("SQL files")
struct SQLFileTests {
    @Test(
        "a statement that begins or ends a transaction is found, with its line",
        arguments: [
            ("COMMIT", 1), ("SELECT 1;\n\n  commit ;", 3), ("/* a\n/* b */ */ -- c\nROLLBACK", 3),
            ("SELECT 'it''s;';\nBEGIN;", 2), ("SELECT $a$;COMMIT;$b$;$a$;\nEND", 2),
            ("SELECT E'\\';';\nsavepoint a", 2), ("SELECT \"a;b\"\n;start transaction", 2),
            ("SELECT E'a''b\\'';\nCOMMIT; SELECT ''", 2),
            ("SELECT 1 AS begin, 2 AS atomic;\nEND", 2), ("SELECT 1 AS begin; ATOMIC;\nEND", 2),
            // The server's white space is ASCII, so that a no-break space begins a name.
            ("SELECT 1 AS \u{a0}$x$;\nCOMMIT; SELECT 2 AS b\u{a0}$x$", 2),
        ]
    )
    func found(text: String, line: Int) {
        #expect(SQLFile(name: "f", text: text).lineOfTransactionControl == line)
    }

    @Test(
        "words inside statements, strings, names and comments are left alone",
        arguments: [
            "SELECT 1", "SELECT begin FROM commit", "-- COMMIT\nSELECT 1", "SELECT ';COMMIT;'",
            "SELECT \";COMMIT\"", "/* ; COMMIT */ SELECT 1", "DO $$BEGIN; COMMIT; END$$",
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END; SELECT 1",
            "SELECT $1; SELECT a$b",
            "", "';COMMIT", "$x$;COMMIT",
        ]
    )
    func leftAlone(text: String) {
        #expect(SQLFile(name: "f", text: text).lineOfTransactionControl == nil)
    }
}
