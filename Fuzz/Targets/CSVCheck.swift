@testable import Ledgers

/// CSV as JSON, beside RFC 4180 read another way.
enum CSVCheck {
    /// A header, a zero byte, a row.
    static func run(_ input: [UInt8]) throws {
        let parts = input.split(separator: 0, maxSplits: 1, omittingEmptySubsequences: false)
        let (header, row) = (Array(parts[0]), parts.count > 1 ? Array(parts[1]) : [])
        let delimiter = UInt8(ascii: ",")
        let names = fields(of: header)
        var rows: CSVRows
        do {
            rows = try header.withUnsafeBytes {
                try CSVRows(header: $0, delimiter: delimiter)
            }
        } catch {
            return
        }
        guard let names else { throw FuzzFailure(description: "a header that is none was taken") }
        try require(rows.header == header, "the header is kept")
        var empty = PlainJSONReader(rows.emptyRow)
        try require(empty.document() != nil, "the empty row is JSON")
        let complaint = row.withUnsafeBytes { rows.read($0) }
        let expected = fields(of: row)
        let fits = expected?.count == names.count
        try require((complaint == nil) == fits, "a row of \(names.count) fields is taken")
        guard fits, let expected else { return }
        var reader = PlainJSONReader(rows.json)
        guard case .object(let found) = reader.document() else {
            let isText = String(validating: row, as: UTF8.self) != nil
            return try require(!isText, "a row of UTF-8 becomes an object")
        }
        try require(found.count == names.count, "each column is a field")
        for (index, field) in found.enumerated() {
            let name = names[index].isEmpty ? Array("column\(index + 1)".utf8) : names[index]
            try require(field.key == name, "the key is the column's name")
            try require(field.value == .string(expected[index]), "the value is the field's text")
        }
    }

    /// The fields of a row, by a machine with one state for each byte; nil where it is none.
    private static func fields(of row: [UInt8]) -> [[UInt8]]? {
        enum State { case start, plain, quoted, behindQuote }
        var state = State.start
        var fields: [[UInt8]] = [[]]
        for byte in row {
            switch (state, byte) {
            case (.quoted, UInt8(ascii: "\"")): state = .behindQuote
            case (.quoted, _): fields[fields.count - 1].append(byte)
            case (.behindQuote, UInt8(ascii: "\"")):
                fields[fields.count - 1].append(byte)
                state = .quoted
            case (_, UInt8(ascii: ",")):
                fields.append([])
                state = .start
            case (.behindQuote, _): return nil
            case (.start, UInt8(ascii: "\"")): state = .quoted
            default:
                fields[fields.count - 1].append(byte)
                state = .plain
            }
        }
        return state == .quoted ? nil : fields
    }
}
