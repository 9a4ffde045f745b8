import Wording

/// What the first bytes of a file say it is.
enum FileKind: Equatable {
    case records(RecordForm)
    /// Something that cannot be imported: what it is, and what to do, in which `FILE` stands for the
    /// file and `IMPORT` for the command that imports from standard input.
    case other(String, advice: String)

    private static let marks: [(offset: Int, mark: [UInt8], name: String, advice: String)] = [
        (
            0, [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00], "xz data",
            "Decompress it: xz -dc FILE | IMPORT"
        ),
        (0, Array("BZh".utf8), "bzip2 data", "Decompress it: bzip2 -dc FILE | IMPORT"),
        (0, [0x04, 0x22, 0x4d, 0x18], "lz4 data", "Decompress it: lz4 -dc FILE | IMPORT"),
        (
            0, [0x50, 0x4b, 0x03, 0x04], "a zip archive",
            "Unpack it: unzip -p FILE | IMPORT"
        ),
        (
            0, [0x37, 0x7a, 0xbc, 0xaf, 0x27, 0x1c], "a 7z archive",
            "Unpack it: 7z x -so FILE | IMPORT"
        ),
        (
            257, Array("ustar".utf8), "a tar archive",
            "Unpack it: tar -xOf FILE MEMBER | IMPORT"
        ),
        (
            0, Array("PAR1".utf8), "a Parquet file",
            "Write it as NDJSON, for example in DuckDB: COPY (FROM 'events.parquet') TO 'events.ndjson'."
        ),
        (
            0, [0x4f, 0x62, 0x6a, 0x01], "an Avro file",
            "Write it as NDJSON: avro-tools tojson FILE | IMPORT"
        ),
        (
            0, Array("ORC".utf8), "an ORC file",
            "Write it as NDJSON: orc-contents FILE | IMPORT"
        ),
        (
            0, Array("SQLite format 3\0".utf8), "an SQLite database",
            "Write its events as NDJSON: '\(ProgramName.current) ledger export' if it is a ledger, or sqlite3 -csv -header"
                + " FILE \"SELECT …\" | IMPORT"
        ),
        (
            0, Array("PGDMP".utf8), "a PostgreSQL dump in the custom format",
            "Export the table as CSV: psql -c \"COPY events TO STDOUT (FORMAT csv, HEADER)\" | IMPORT"
        ),
        (
            0, Array("--\n-- PostgreSQL".utf8), "a PostgreSQL dump in SQL",
            "Export the table as CSV: psql -c \"COPY events TO STDOUT (FORMAT csv, HEADER)\" | IMPORT"
        ),
    ]

    /// - Parameters:
    ///   - head: The first bytes, decompressed.
    ///   - delimiter: What separates fields, where that was said.
    ///   - takesZeros: Whether U+0000 is replaced, so that it does not make text binary.
    init(of head: UnsafeRawBufferPointer, delimiter: UInt8?, takesZeros: Bool = false) {
        let bytes = head.starts(with: [0xef, 0xbb, 0xbf]) ? head.dropFirst(3) : head[...]
        if let other = Self.binary(head, takesZeros: takesZeros) {
            self = other
        } else if let delimiter, !Self.isJSON(bytes) {
            self = .records(.rows(delimiter: delimiter))
        } else {
            self = Self.text(UnsafeRawBufferPointer(rebasing: bytes))
        }
        if case .records(.rows) = self, Self.hasOldLineEnds(head) {
            self = .other(
                "text whose lines end with CR alone",
                advice:
                    "Write its line ends as LF: tr \"\\r\" \"\\n\" < FILE | IMPORT"
            )
        }
    }

    private static func isJSON(_ bytes: Slice<UnsafeRawBufferPointer>) -> Bool {
        let first = bytes.first { !JSONText.isSpace($0) }
        return first == UInt8(ascii: "{") || first == UInt8(ascii: "[")
    }

    private static func hasOldLineEnds(_ head: UnsafeRawBufferPointer) -> Bool {
        !head.contains(0x0a) && head.dropLast().contains(0x0d)
    }

    private static func binary(_ head: UnsafeRawBufferPointer, takesZeros: Bool) -> FileKind? {
        for (offset, mark, name, advice) in marks
        where head.count >= offset + mark.count && head[offset...].starts(with: mark) {
            return .other(name, advice: advice)
        }
        let start = head.prefix(4)
        let isWide =
            start.starts(with: [0, 0, 0xfe, 0xff]) || start.starts(with: [0xff, 0xfe, 0, 0])
            || (start.count == 4
                && (start.elementsEqual([0, 0, 0, start[3]]) || zeros(start, [1, 2, 3])))
        if isWide { return utf("UTF-32") }
        if start.starts(with: [0xfe, 0xff]) || start.starts(with: [0xff, 0xfe]) {
            return utf("UTF-16")
        }
        if zeros(start, [0]) { return utf("UTF-16BE") }
        if zeros(start, [1]) { return utf("UTF-16LE") }
        guard takesZeros || !head.prefix(1_024).contains(0) else {
            return .other(
                "binary data",
                advice: "Write its events as NDJSON, a JSON array or CSV, and import that."
            )
        }
        return nil
    }

    private static func zeros(_ bytes: Slice<UnsafeRawBufferPointer>, _ places: [Int]) -> Bool {
        places.allSatisfy { $0 < bytes.count && bytes[bytes.startIndex + $0] == 0 }
            && bytes.contains { $0 != 0 }
    }

    private static func utf(_ name: String) -> FileKind {
        .other(
            "\(name.prefix(6)) text",
            advice: "Write it as UTF-8: iconv -f \(name) -t UTF-8 FILE | IMPORT"
        )
    }

    private static func text(_ head: UnsafeRawBufferPointer) -> FileKind {
        let body = head.drop { JSONText.isSpace($0) }
        func begins(_ text: String) -> Bool { body.starts(with: text.utf8) }
        switch body.first {
        case nil:
            if head.count < RecordReader.headLength {
                return .other("empty", advice: "Check the path, and the command that wrote it.")
            }
            return .other(
                "blank in its first \(RecordReader.headLength / 1_024) KiB",
                advice: "Leave the blank lines away: grep '[^[:space:]]' FILE | IMPORT"
            )
        case UInt8(ascii: "["): return .records(.array)
        case UInt8(ascii: "{"): return object(UnsafeRawBufferPointer(rebasing: body))
        case UInt8(ascii: "<"):
            let start = String(decoding: body.prefix(256), as: UTF8.self).lowercased()
            let isPage = start.contains("<html") || start.hasPrefix("<!doctype html")
            return .other(
                isPage ? "an HTML page" : "XML",
                advice: isPage
                    ? "Check the address it came from: a server may have answered with an error page."
                    : "Write its events as NDJSON, a JSON array or CSV, and import that."
            )
        case UInt8(ascii: "/") where begins("//") || begins("/*"): return commented
        case UInt8(ascii: "%") where begins("%YAML"),
            UInt8(ascii: "-") where begins("---") || begins("- "):
            return yaml
        default: return line(head)
        }
    }

    private static let commented = FileKind.other(
        "JSON with comments",
        advice: "Take the comments out, for example with grep -v \"^ *//\" FILE | IMPORT"
    )
    private static let yaml = FileKind.other(
        "YAML",
        advice: "Write it as NDJSON: yq -o=json -I=0 \".[]\" FILE | IMPORT"
    )

    /// A text that is neither JSON nor marked: CSV, if its first line has a delimiter.
    private static func line(_ head: UnsafeRawBufferPointer) -> FileKind {
        let line = head.prefix { $0 != 0x0a }
        let plain = unquoted(head)
        for delimiter in "\t,".utf8 where plain.contains(delimiter) {
            return .records(.rows(delimiter: delimiter))
        }
        if plain.contains(UInt8(ascii: ";")) || plain.contains(UInt8(ascii: "|")) {
            let delimiter = plain.contains(UInt8(ascii: ";")) ? ";" : "|"
            return .other(
                "text with '\(delimiter)' in its first line",
                advice:
                    "If that separates the fields of CSV, say so: '--delimiter \"\(delimiter)\"'."
            )
        }
        let first = line.first { !JSONText.isSpace($0) } ?? 0
        if let colon = line.firstIndex(of: UInt8(ascii: ":")), first != UInt8(ascii: "\""),
            colon + 1 >= line.endIndex || JSONText.isSpace(line[colon + 1])
        {
            return yaml
        }
        let isScalar =
            first == UInt8(ascii: "\"") || first == UInt8(ascii: "-") || (48...57).contains(first)
            || ["null", "true", "false"].contains { line.starts(with: $0.utf8) }
        if isScalar { return .records(.lines) }
        return .other(
            "neither NDJSON nor a JSON array nor CSV",
            advice:
                "Write one event a line: {\"time\":\"2026-03-01T09:30:00Z\",\"stream\":\"order-1\","
                + "\"type\":\"Placed\",\"data\":{}}"
        )
    }

    /// What stands outside quotes in the first row, which may go on in the next line inside them.
    private static func unquoted(_ head: UnsafeRawBufferPointer) -> [UInt8] {
        var isQuoted = false
        var bytes: [UInt8] = []
        for byte in head {
            if byte == UInt8(ascii: "\"") { isQuoted.toggle() }
            if byte == 0x0a, !isQuoted { break }
            if !isQuoted { bytes.append(byte) }
        }
        return bytes
    }

    /// Text that begins with an object: NDJSON, unless the object goes on in the next line.
    private static func object(_ body: UnsafeRawBufferPointer) -> FileKind {
        guard let newline = Memory.firstIndex(of: 0x0a, in: body, from: 0) else {
            return .records(.lines)
        }
        let rest = UnsafeRawBufferPointer(rebasing: body[newline...]).drop { JSONText.isSpace($0) }
        if rest.starts(with: "//".utf8) || rest.starts(with: "/*".utf8) { return commented }
        let line = UnsafeRawBufferPointer(rebasing: body[..<newline])
        let isOpen = JSONDepth.isOpen(line)
        let goesOn = rest.first == UInt8(ascii: "\"") || rest.first == UInt8(ascii: "}")
        guard isOpen, goesOn else { return .records(.lines) }
        return .other(
            "JSON whose objects go over several lines",
            advice: "Write one object a line: jq -c . FILE | IMPORT"
        )
    }
}

/// Whether brackets are left open at the end of a text.
private enum JSONDepth {
    static func isOpen(_ text: UnsafeRawBufferPointer) -> Bool {
        var depth = 0
        var isInString = false
        var index = 0
        while index < text.count {
            let byte = text[index]
            if isInString {
                if byte == UInt8(ascii: "\\") { index += 1 }
                if byte == UInt8(ascii: "\"") { isInString = false }
            } else if byte == UInt8(ascii: "\"") {
                isInString = true
            } else if byte == UInt8(ascii: "{") || byte == UInt8(ascii: "[") {
                depth += 1
            } else if byte == UInt8(ascii: "}") || byte == UInt8(ascii: "]") {
                depth -= 1
            }
            index += 1
        }
        return depth > 0 && !isInString
    }
}
