import Wording

/// Turns rows of CSV into JSON objects of texts, under the names of the header.
///
/// Used by one thread.
struct CSVRows {
    let delimiter: UInt8
    /// The names of the columns, as JSON strings with a colon behind.
    private let keys: [[UInt8]]
    /// The header, as it stands in the file, without its line end.
    let header: [UInt8]
    /// The row that was read last, as JSON.
    private(set) var json: [UInt8] = []

    /// Why a header cannot be used, as a clause.
    struct HeaderError: Error {
        let reason: String
    }

    init(header: UnsafeRawBufferPointer, delimiter: UInt8) throws(HeaderError) {
        self.delimiter = delimiter
        self.header = Array(header)
        var names: [[UInt8]] = []
        var field: [UInt8] = []
        let complaint = Self.split(header, delimiter, &field) { names.append($0) }
        if let complaint { throw HeaderError(reason: complaint) }
        var seen: Set<[UInt8]> = []
        var keys: [[UInt8]] = []
        for (index, name) in names.enumerated() {
            let name = name.isEmpty ? Array("column\(index + 1)".utf8) : name
            guard String(validating: name, as: UTF8.self) != nil else {
                throw HeaderError(reason: "column \(index + 1) has a name that is not UTF-8")
            }
            guard seen.insert(name).inserted else {
                let shown = TextForPeople.shown(String(decoding: name, as: UTF8.self))
                throw HeaderError(reason: "two columns are named \(shown)")
            }
            var key: [UInt8] = []
            JSONText.appendString(name, to: &key)
            key.append(UInt8(ascii: ":"))
            keys.append(key)
        }
        self.keys = keys
    }

    /// A row of empty texts, as JSON.
    var emptyRow: [UInt8] {
        var row: [UInt8] = []
        for key in keys {
            row.append(UInt8(ascii: row.isEmpty ? "{" : ","))
            row += key
            row += Array("\"\"".utf8)
        }
        row.append(UInt8(ascii: "}"))
        return row
    }

    /// Reads a row into ``json``.
    ///
    /// - Returns: Why it is none, as a clause; nil when it was read.
    mutating func read(_ row: UnsafeRawBufferPointer) -> String? {
        json.removeAll(keepingCapacity: true)
        json.append(UInt8(ascii: "{"))
        var count = 0
        var field: [UInt8] = []
        let complaint = Self.split(row, delimiter, &field) { value in
            defer { count += 1 }
            guard count < keys.count else { return }
            if count > 0 { json.append(UInt8(ascii: ",")) }
            json.append(contentsOf: keys[count])
            JSONText.appendString(value, to: &json)
        }
        if let complaint { return complaint }
        guard count == keys.count else {
            return "it has \(count) fields, and the header has \(keys.count)"
        }
        json.append(UInt8(ascii: "}"))
        return nil
    }

    /// Lends each field of a row.
    ///
    /// - Returns: Why it is no row, as a clause.
    private static func split(
        _ row: UnsafeRawBufferPointer,
        _ delimiter: UInt8,
        _ field: inout [UInt8],
        _ body: ([UInt8]) -> Void
    ) -> String? {
        let quote = UInt8(ascii: "\"")
        var index = 0
        while true {
            field.removeAll(keepingCapacity: true)
            if index < row.count, row[index] == quote {
                index += 1
                while true {
                    guard let end = Memory.firstIndex(of: quote, in: row, from: index) else {
                        return "a quote is not closed"
                    }
                    field.append(contentsOf: row[index..<end])
                    index = end + 1
                    guard index < row.count, row[index] == quote else { break }
                    field.append(quote)
                    index += 1
                }
                guard index == row.count || row[index] == delimiter else {
                    return "something stands between a closing quote and the next field"
                }
            } else {
                let end = Memory.firstIndex(of: delimiter, in: row, from: index) ?? row.count
                field.append(contentsOf: row[index..<end])
                index = end
            }
            body(field)
            guard index < row.count else { return nil }
            index += 1
        }
    }
}
