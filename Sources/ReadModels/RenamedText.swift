import Postgres

/// SQL that the server wrote with every name qualified, for other tables than it speaks of: so that
/// a rehearsal can run it under the settings of the cut-over, without a lock on a live table.
struct RenamedText: Sendable {
    /// What to put in the place of which name.
    let names: [QualifiedName: QualifiedName]

    /// The text with the names exchanged.
    ///
    /// Constants stay, other than those that are names of relations (`'public.t'::regclass`).
    func text(_ sql: String) -> String {
        var scanner = Scanner(bytes: Array(sql.utf8), names: names)
        return scanner.run()
    }

    private struct Scanner {
        let bytes: [UInt8]
        let names: [QualifiedName: QualifiedName]
        var index = 0
        var output: [UInt8] = []

        mutating func run() -> String {
            while index < bytes.count {
                let start = index
                if let schema = identifier() {
                    if let new = relation(after: schema) {
                        output += Array(new.sql.utf8)
                    } else {
                        index = start
                        _ = identifier()
                        output += bytes[start..<index]
                        skipMember()
                    }
                } else if bytes[index] == UInt8(ascii: "'") {
                    constant()
                } else if isWordByte(bytes[index]) {
                    // A number, whose letters begin no identifier.
                    while index < bytes.count, isWordByte(bytes[index]) { index += 1 }
                    output += bytes[start..<index]
                } else {
                    output.append(bytes[index])
                    index += 1
                }
            }
            return String(decoding: output, as: UTF8.self)
        }

        /// Behind a name that is no schema, what follows a point is a member of it.
        private mutating func skipMember() {
            while index < bytes.count, bytes[index] == UInt8(ascii: ".") {
                let start = index
                index += 1
                guard identifier() != nil else {
                    index = start
                    break
                }
                output += bytes[start..<index]
            }
        }

        private mutating func relation(after schema: String) -> QualifiedName? {
            let start = index
            guard index < bytes.count, bytes[index] == UInt8(ascii: ".") else { return nil }
            index += 1
            if let name = identifier(),
                let new = names[QualifiedName(schema: schema, name: name)],
                index == bytes.count || bytes[index] != UInt8(ascii: "(")
            {
                return new
            }
            index = start
            return nil
        }

        /// An identifier at the index, which then stands behind it.
        private mutating func identifier() -> String? {
            guard index < bytes.count else { return nil }
            if bytes[index] == UInt8(ascii: "\"") {
                return String(decoding: quoted(by: UInt8(ascii: "\""), false), as: UTF8.self)
            }
            guard isWordByte(bytes[index]), !(48...57).contains(bytes[index]) else { return nil }
            let start = index
            while index < bytes.count, isWordByte(bytes[index]) { index += 1 }
            // The prefix of a constant with backslashes.
            if bytes[start..<index].elementsEqual("E".utf8), index < bytes.count,
                bytes[index] == UInt8(ascii: "'")
            {
                index = start
                return nil
            }
            return String(decoding: bytes[start..<index], as: UTF8.self)
        }

        private mutating func constant() {
            let start = index
            let hasBackslashes = start > 0 && bytes[start - 1] == UInt8(ascii: "E")
            let value = quoted(by: UInt8(ascii: "'"), hasBackslashes)
            guard !hasBackslashes, bytes[index...].starts(with: "::regclass".utf8) else {
                output += bytes[start..<index]
                return
            }
            var inner = Scanner(bytes: value, names: names)
            let name = inner.run()
            output += Array(SQLText.literal(name).utf8)
        }

        /// What stands in quotes at the index, which then stands behind them.
        private mutating func quoted(by quote: UInt8, _ hasBackslashes: Bool) -> [UInt8] {
            var value: [UInt8] = []
            index += 1
            while index < bytes.count {
                let byte = bytes[index]
                if hasBackslashes, byte == UInt8(ascii: "\\"), index + 1 < bytes.count {
                    value += [byte, bytes[index + 1]]
                    index += 2
                } else if byte == quote {
                    index += 1
                    guard index < bytes.count, bytes[index] == quote else { break }
                    value.append(quote)
                    index += 1
                } else {
                    value.append(byte)
                    index += 1
                }
            }
            return value
        }

        private func isWordByte(_ byte: UInt8) -> Bool {
            (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte)
                || byte == UInt8(ascii: "_") || byte == UInt8(ascii: "$") || byte >= 128
        }
    }
}
