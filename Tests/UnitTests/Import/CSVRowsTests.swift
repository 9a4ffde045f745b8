import Foundation
import Testing

@testable import Ledgers

/// Reads what rows become, with Foundation's parser.
enum CSVJSON {
    static func values(_ json: [UInt8], count: Int) throws -> [String] {
        let object = try JSONSerialization.jsonObject(with: Data(json)) as? [String: String]
        return (0..<count).compactMap { object?["c\($0)"] }
    }
}

@Suite("Rows of CSV")
struct CSVRowsTests {
    private func rows(_ header: String, _ delimiter: String = ",") throws -> CSVRows {
        try Array(header.utf8).withUnsafeBytes {
            try CSVRows(header: $0, delimiter: delimiter.utf8.first ?? 0)
        }
    }

    private func read(_ rows: inout CSVRows, _ row: String) -> String? {
        Array(row.utf8).withUnsafeBytes { rows.read($0) }
    }

    @Test("a row becomes an object of texts under the header's names")
    func object() throws {
        var rows = try rows("a,\"b \"\"c\"\"\",,é")
        #expect(read(&rows, "1,\"x\ny\t\",,\"\"\"\"") == nil)
        #expect(
            String(decoding: rows.json, as: UTF8.self)
                == #"{"a":"1","b \"c\"":"x\ny\t","column3":"","é":"\""}"#
        )
        #expect(read(&rows, "5\" pipe,b,c,d\u{1}") == nil)
        #expect(
            String(decoding: rows.json, as: UTF8.self)
                == #"{"a":"5\" pipe","b \"c\"":"b","column3":"c","é":"d\u0001"}"#
        )
    }

    @Test("other delimiters")
    func delimiters() throws {
        var tabs = try rows("a\tb", "\t")
        #expect(read(&tabs, "1,5\t2") == nil)
        #expect(String(decoding: tabs.json, as: UTF8.self) == #"{"a":"1,5","b":"2"}"#)
    }

    @Test("a row that does not fit is refused for its reason")
    func refused() throws {
        var rows = try rows("a,b")
        #expect(read(&rows, "1") == "it has 1 fields, and the header has 2")
        #expect(read(&rows, "1,2,3") == "it has 3 fields, and the header has 2")
        #expect(read(&rows, "\"1\"x,2")?.contains("closing quote") == true)
        #expect(read(&rows, "1,\"2")?.contains("not closed") == true)
    }

    @Test("a header with a name twice is refused")
    func header() {
        do {
            _ = try rows("a,b,a")
            Issue.record("it was taken")
        } catch {
            #expect((error as? CSVRows.HeaderError)?.reason == "two columns are named 'a'")
        }
    }
}
