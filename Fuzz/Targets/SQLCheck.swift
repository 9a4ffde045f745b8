@testable import ReadModels

/// A projection's SQL file, beside the server's lexer written down as one pattern.
enum SQLCheck {
    static func run(_ input: [UInt8]) throws {
        let text = String(decoding: input, as: UTF8.self)
        // The server's text ends at a zero byte.
        guard !text.utf8.contains(0) else { return }
        let file = SQLFile(name: "schema.sql", text: text)
        let line = file.lineOfTransactionControl
        if let line {
            let lines = 1 + text.utf8.count { $0 == 0x0a }
            try require((1...lines).contains(line), "a line is one of the file's")
        }
        let statements = SQLTokens.statements(of: Array(text.utf8))
        let first = statements.first { $0.isTransactionControl }
        if first != nil { try require(line != nil, "a statement of control is found") }
        guard let queries = file.queries else { return }
        // Joined with what stands between them, the queries are the text.
        var rest = text.utf8[...]
        for query in queries {
            guard let found = rest.firstRange(of: query.utf8) else {
                throw FuzzFailure(description: "a query stands in the text")
            }
            rest = rest[found.upperBound...]
        }
        try require(queries.count == statements.count, "there are \(statements.count) queries")
        for (query, statement) in zip(queries, statements) {
            try require(query.utf8.starts(with: statement.text), "a query is the statement")
        }
    }
}

/// Statements of SQL, byte by byte, by the rules of PostgreSQL's scan.l.
enum SQLTokens {
    struct Statement {
        var text: ArraySlice<UInt8> = []
        var words: [String] = []
        var isTransactionControl = false
    }

    static func statements(of bytes: [UInt8]) -> [Statement] {
        var statements: [Statement] = []
        var current: Statement?
        var start = 0
        var index = 0
        var isAtomic = false
        var last: String?
        while index < bytes.count {
            let begin = index
            let token = next(bytes, &index)
            if token.isSpace { continue }
            if token.isSemicolon {
                last = nil
                if let current { statements.append(current) }
                current = nil
                continue
            }
            let previous = last
            last = token.word
            if current == nil { start = begin }
            let isFirst = current == nil
            var statement = current ?? Statement()
            if let word = token.word {
                if previous == "begin", word == "atomic" { isAtomic = true }
                if isFirst, word == "end", isAtomic {
                    isAtomic = false
                } else if isFirst {
                    statement.isTransactionControl = control.contains(word)
                }
                statement.words.append(word)
            }
            statement.text = bytes[start..<index]
            current = statement
        }
        if let current { statements.append(current) }
        return statements
    }

    private static let control: Set<String> = [
        "abort", "begin", "commit", "end", "prepare", "release", "rollback", "savepoint", "start",
    ]

    private struct Token {
        var word: String?
        var isSpace = false
        var isSemicolon = false
    }

    private static func next(_ bytes: [UInt8], _ index: inout Int) -> Token {
        func peek(_ ahead: Int = 0) -> UInt8 {
            index + ahead < bytes.count ? bytes[index + ahead] : 0
        }
        func begins(_ text: String) -> Bool { bytes[index...].starts(with: text.utf8) }
        let byte = bytes[index]
        if isSpace(byte) {
            index += 1
            return Token(isSpace: true)
        }
        if begins("--") {
            while index < bytes.count, bytes[index] != 0x0a, bytes[index] != 0x0d { index += 1 }
            return Token(isSpace: true)
        }
        if begins("/*") {
            var depth = 0
            repeat {
                let step = begins("/*") ? 1 : begins("*/") ? -1 : 0
                depth += step
                index += step == 0 ? 1 : 2
            } while depth > 0 && index < bytes.count
            return Token(isSpace: true)
        }
        if byte == UInt8(ascii: ";") {
            index += 1
            return Token(isSemicolon: true)
        }
        if byte == UInt8(ascii: "'") || byte == UInt8(ascii: "\"") {
            quoted(bytes, &index, by: byte, hasEscapes: false)
            return Token()
        }
        if byte == UInt8(ascii: "$"), dollarQuoted(bytes, &index) { return Token() }
        guard beginsName(byte) else {
            index += 1
            return Token()
        }
        if byte | 0x20 == UInt8(ascii: "e"), peek(1) == UInt8(ascii: "'") {
            index += 1
            quoted(bytes, &index, by: UInt8(ascii: "'"), hasEscapes: true)
            return Token()
        }
        let start = index
        while index < bytes.count, continuesName(bytes[index]) || bytes[index] == 0x24 {
            index += 1
        }
        return Token(word: String(decoding: bytes[start..<index], as: UTF8.self).lowercased())
    }

    private static func quoted(
        _ bytes: [UInt8],
        _ index: inout Int,
        by quote: UInt8,
        hasEscapes: Bool
    ) {
        index += 1
        while index < bytes.count {
            let byte = bytes[index]
            index += byte == UInt8(ascii: "\\") && hasEscapes ? 2 : 1
            if byte == quote { break }
        }
        index = min(index, bytes.count)
        // A doubled quote belongs to the text.
        if index < bytes.count, bytes[index] == quote {
            quoted(bytes, &index, by: quote, hasEscapes: hasEscapes)
        }
    }

    private static func dollarQuoted(_ bytes: [UInt8], _ index: inout Int) -> Bool {
        var end = index + 1
        while end < bytes.count, continuesName(bytes[end]) { end += 1 }
        guard end < bytes.count, bytes[end] == 0x24,
            end == index + 1 || beginsName(bytes[index + 1])
        else { return false }
        let mark = bytes[index...end]
        index = end + 1
        while index < bytes.count, !bytes[index...].starts(with: mark) { index += 1 }
        index = min(index + mark.count, bytes.count)
        return true
    }

    /// The server's white space is ASCII; every other character belongs to names.
    private static func isSpace(_ byte: UInt8) -> Bool {
        byte == 0x20 || (0x09...0x0d).contains(byte)
    }

    private static func beginsName(_ byte: UInt8) -> Bool {
        byte >= 0x80 || byte == UInt8(ascii: "_") || (97...122).contains(byte | 0x20)
    }

    private static func continuesName(_ byte: UInt8) -> Bool {
        beginsName(byte) || (48...57).contains(byte)
    }
}
