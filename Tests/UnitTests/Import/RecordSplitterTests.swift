import TestSupport
import Testing

@testable import Ledgers

@Suite("Records in a text")
struct RecordSplitterTests {
    /// The records, when the bytes come in pieces that end at the cuts.
    private func records(
        _ text: [UInt8],
        _ form: RecordForm,
        cuts: [Int]
    ) throws -> [String] {
        var splitter = RecordSplitter(form)
        var start = 0
        if form == .array {
            start = text.withUnsafeBytes { splitter.enterArray($0) } ?? 0
        }
        var found: [String] = []
        for end in cuts.filter({ $0 >= start }) + [text.count] {
            let isAtEnd = end == text.count
            while true {
                let span = try text.withUnsafeBytes {
                    try splitter.next(
                        in: UnsafeRawBufferPointer(rebasing: $0[start..<end]),
                        isAtEnd: isAtEnd
                    )
                }
                guard let span else { break }
                let range = (start + span.text.lowerBound)..<(start + span.text.upperBound)
                found.append(String(decoding: text[range], as: UTF8.self))
                start += span.next
            }
        }
        return found
    }

    private static let cases: [(text: String, form: RecordForm, records: [String])] = [
        ("a\r\nbc\n\nd", .lines, ["a", "bc", "", "d"]),
        ("a\n", .lines, ["a"]),
        (
            "a,b\r\n\"x,\"\"y\"\"\n\r\nz\",2\n,\n\"\",\"\"\"\"\n5\" pipe,3",
            .rows(delimiter: 0x2c),
            ["a,b", "\"x,\"\"y\"\"\n\r\nz\",2", ",", "\"\",\"\"\"\"", "5\" pipe,3"]
        ),
        (
            #" [ {"a":"]},\"\\","b":[[{}]]} , 12,"x\"]" ,null , [1,[2]],{} ] "#, .array,
            [#"{"a":"]},\"\\","b":[[{}]]}"#, "12", #""x\"]""#, "null", "[1,[2]]", "{}"]
        ),
        ("[]", .array, []),
        ("[\n]\n", .array, []),
    ]

    @Test("records are the same at whichever byte the text is cut", arguments: cases.indices)
    func cuts(_ index: Int) throws {
        let (text, form, expected) = Self.cases[index]
        let bytes = Array(text.utf8)
        #expect(try records(bytes, form, cuts: []) == expected)
        for first in 0...bytes.count {
            for second in first...bytes.count {
                #expect(
                    try records(bytes, form, cuts: [first, second]) == expected,
                    "\(first) \(second)"
                )
            }
        }
        #expect(try records(bytes, form, cuts: Array(0..<bytes.count)) == expected)
    }

    @Test(
        "an array that is none is refused, behind the elements that are there",
        arguments: [
            ("[1 2]", "no comma"), ("[1,,2]", "missing before ','"), ("[,1]", "missing before ','"),
            ("[1,]", "missing before ']'"), ("[1", "ends inside"), ("[1,", "cut off"),
            ("[{\"a\":1}", "cut off"),
            ("[1] 2", "follows the end"), ("[", "cut off"),
        ]
    )
    func brokenArray(_ text: String, _ reason: String) {
        do {
            let found = try records(Array(text.utf8), .array, cuts: [])
            Issue.record("\(text) gave \(found)")
        } catch {
            let found = (error as? RecordSplitError)?.reason ?? "\(error)"
            #expect(found.contains(reason), "\(text): \(found)")
        }
    }

    @Test("rows that were written by the rules come back, cut anywhere")
    func randomRows() throws {
        let seed = UInt64.random(in: 0 ... .max)
        print("seed \(seed)")
        var random = SeededRandom(seed: seed)
        let pieces = ["a", "\"", ",", "\n", "\r\n", "é", " ", "", "x"]
        for _ in 0..<300 {
            let columns = Int.random(in: 2...4, using: &random)
            let rows = (0..<5).map { _ in
                (0..<columns).map { _ in
                    (0..<Int.random(in: 0...4, using: &random))
                        .map { _ in pieces.randomElement(using: &random) ?? "" }.joined()
                }
            }
            let lines = rows.map { row in
                row.map { "\"" + $0.replacing("\"", with: "\"\"") + "\"" }.joined(separator: ",")
            }
            let text = Array(lines.joined(separator: "\n").utf8)
            let cuts = (0..<3).map { _ in Int.random(in: 0...text.count, using: &random) }.sorted()
            let found = try records(text, .rows(delimiter: 0x2c), cuts: cuts)
            #expect(found == lines)
            let header = (0..<columns).map { "c\($0)" }.joined(separator: ",")
            for (line, row) in zip(found, rows) {
                let values = try fields(of: line, header: header)
                #expect(values == row)
            }
        }
    }

    private func fields(of line: String, header: String) throws -> [String] {
        let header = Array(header.utf8)
        var rows = try header.withUnsafeBytes { try CSVRows(header: $0, delimiter: 0x2c) }
        let complaint = Array(line.utf8).withUnsafeBytes { rows.read($0) }
        #expect(complaint == nil)
        return try CSVJSON.values(rows.json, count: header.filter { $0 == 0x2c }.count + 1)
    }
}
