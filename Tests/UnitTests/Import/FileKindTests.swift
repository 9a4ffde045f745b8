import Testing

@testable import Ledgers

@Suite("What a file is")
struct FileKindTests {
    private func kind(_ bytes: [UInt8], delimiter: UInt8? = nil) -> FileKind {
        bytes.withUnsafeBytes { FileKind(of: $0, delimiter: delimiter) }
    }

    @Test(
        "the text tells records",
        arguments: [
            ("{\"a\":1}\n{", RecordForm.lines), ("{}", .lines), ("\u{feff}{\"a\":1}", .lines),
            (" \n{\"a\":1}", .lines), ("{\"time\":\n", .lines), ("[1]", .array),
            ("\u{feff}\n [", .array),
            ("a,b\n1,2", .rows(delimiter: 0x2c)), ("a\tb,c\n", .rows(delimiter: 9)),
            ("\"time\",\"stream\"\n", .rows(delimiter: 0x2c)), ("12\n", .lines), ("null", .lines),
            ("\"x\"", .lines), ("\"a\tb\",c\n", .rows(delimiter: 0x2c)),
            ("\"a\nb\",c\n", .rows(delimiter: 0x2c)),
        ]
    )
    func records(_ text: String, _ form: RecordForm) {
        #expect(kind(Array(text.utf8)) == .records(form))
    }

    @Test("what is blank for longer than is looked at is not called empty")
    func blank() {
        let blank = [UInt8](repeating: 0x0a, count: RecordReader.headLength)
        #expect(
            kind(blank)
                == .other(
                    "blank in its first 64 KiB",
                    advice: "Leave the blank lines away: grep '[^[:space:]]' FILE | IMPORT"
                )
        )
        guard case .other("empty", _) = kind(blank.dropLast()) else {
            Issue.record("\(kind(blank.dropLast()))")
            return
        }
    }

    @Test("zeros make it binary unless they are replaced")
    func zeros() {
        let text = Array("a,b\n1,\0\n".utf8)
        let rows = FileKind.records(.rows(delimiter: 0x2c))
        #expect(text.withUnsafeBytes { FileKind(of: $0, delimiter: nil, takesZeros: true) } == rows)
        guard case .other("binary data", _) = kind(text) else {
            Issue.record("\(kind(text))")
            return
        }
    }

    @Test("a delimiter that is given makes it CSV")
    func delimiter() {
        #expect(kind(Array("a;b\n".utf8), delimiter: 0x3b) == .records(.rows(delimiter: 0x3b)))
        // JSON is what it is.
        #expect(kind(Array(" {\"a\":1}\n".utf8), delimiter: 0x3b) == .records(.lines))
        #expect(kind(Array("[1]".utf8), delimiter: 0x3b) == .records(.array))
    }

    private static let others: [([UInt8], String)] = [
        ([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00, 1], "xz data"), (Array("BZh91AY".utf8), "bzip2 data"),
        ([0x50, 0x4b, 3, 4, 0], "a zip archive"), (Array("PAR1\u{0}".utf8), "a Parquet file"),
        ([0x4f, 0x62, 0x6a, 1, 2], "an Avro file"),
        (Array("SQLite format 3\0".utf8), "an SQLite database"),
        (Array("PGDMP\u{1}".utf8), "a PostgreSQL dump in the custom format"),
        (Array("--\n-- PostgreSQL database dump\n".utf8), "a PostgreSQL dump in SQL"),
        (Array(repeating: 0x61, count: 257) + Array("ustar\0".utf8), "a tar archive"),
        ([0xff, 0xfe, 0x7b, 0], "UTF-16 text"), ([0xfe, 0xff, 0, 0x7b], "UTF-16 text"),
        ([0x7b, 0, 0x22, 0], "UTF-16 text"), ([0, 0x7b, 0, 0x22], "UTF-16 text"),
        ([0xff, 0xfe, 0, 0, 0x7b], "UTF-32 text"), ([0, 0, 0xfe, 0xff], "UTF-32 text"),
        ([0x7b, 0, 0, 0], "UTF-32 text"), ([0, 0, 0, 0x7b], "UTF-32 text"),
        ([0x61, 1, 2, 3, 4, 0], "binary data"), (Array("<?xml?><a/>".utf8), "XML"),
        (Array("<!DOCTYPE html><html>".utf8), "an HTML page"),
        (Array("---\n- a: 1\n".utf8), "YAML"),
        (Array("- a: 1\n".utf8), "YAML"), (Array("events:\n  - a\n".utf8), "YAML"),
        (Array("// note\n{}".utf8), "JSON with comments"),
        (Array("{\n// note\n".utf8), "JSON with comments"),
        (Array("{\n  \"a\": 1\n}\n".utf8), "JSON whose objects go over several lines"),
        (Array("{\"a\":{\n\"b\":1}}".utf8), "JSON whose objects go over several lines"),
        (Array("a,b\r1,2\r".utf8), "text whose lines end with CR alone"),
        ([], "empty"), (Array(" \n\n".utf8), "empty"),
        (Array("a;b\n".utf8), "text with ';' in its first line"),
        (Array("hello\n".utf8), "neither NDJSON nor a JSON array nor CSV"),
    ]

    @Test("what cannot be imported is named, with what to do", arguments: others.indices)
    func other(_ index: Int) {
        let (bytes, name) = Self.others[index]
        guard case .other(let found, let advice) = kind(bytes) else {
            Issue.record("\(name) was taken for records")
            return
        }
        #expect(found == name)
        #expect([".", "}", "| IMPORT"].contains { advice.hasSuffix($0) })
    }

    @Test("no text of up to three bytes traps")
    func shortTexts() {
        let bytes: [UInt8] = [
            0, 0x0a, 0x20, 0x22, 0x2c, 0x5b, 0x5c, 0x7b, 0x7d, 0x1f, 0x8b, 0xff, 0xfe, 0xef,
        ]
        var kinds = 0
        for first in bytes {
            for second in bytes {
                for third in bytes {
                    if case .other = kind([first, second, third]) { kinds += 1 }
                }
            }
        }
        #expect(kinds > 0)
    }
}
