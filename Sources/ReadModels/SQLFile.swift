import Postgres

/// A file of SQL that belongs to a projection, run inside a transaction that is not its own.
struct SQLFile: Sendable {
    /// The name people know it by, such as `schema.sql`.
    let name: String
    /// Its text.
    let text: String

    /// Runs all statements in the open transaction.
    ///
    /// - Returns: The results of all statements, in order.
    /// - Throws: ``ReadModelError/refusedByPlan(projection:reasons:)`` when the file ends the
    ///   transaction or a statement fails; ``ServerError`` when a right is missing.
    @discardableResult
    func run(
        for projection: String,
        on connection: PostgresConnection
    ) async throws -> [QueryResult] {
        if let line = lineOfTransactionControl {
            throw ReadModelError.refusedByPlan(
                projection: projection,
                reasons: [
                    "\(name), line \(line): BEGIN, COMMIT and their like have no place here; the "
                        + "file runs inside a transaction."
                ]
            )
        }
        do {
            return try await connection.executeEach(text)
        } catch let error as ServerError where error.sqlState != "42501" {
            throw ReadModelError.refusedByPlan(
                projection: projection,
                reasons: ["\(name): \(error)"]
            )
        } catch let error as StatementError {
            throw ReadModelError.refusedByPlan(
                projection: projection,
                reasons: ["\(name): \(error)"]
            )
        }
    }

    /// The line of the first statement that begins or ends a transaction; nil when there is none.
    ///
    /// The server would run it: a COMMIT in the middle of a reload would show readers half of it.
    var lineOfTransactionControl: Int? {
        var scanner = SQLScanner(text)
        var isFirstWord = true
        var isInAtomicBody = false
        var previous = ""
        while let token = scanner.next() {
            switch token {
            case .semicolon: isFirstWord = true
            case .word(let word):
                let word = word.lowercased()
                if previous == "begin" && word == "atomic" { isInAtomicBody = true }
                if isFirstWord && isInAtomicBody && word == "end" {
                    isInAtomicBody = false
                } else if isFirstWord && SQLFile.control.contains(word) {
                    return scanner.line
                }
                isFirstWord = false
                previous = word
            case .other: isFirstWord = false
            }
        }
        return nil
    }

    private static let control: Set<String> = [
        "abort", "begin", "commit", "end", "prepare", "release", "rollback", "savepoint", "start",
    ]
}

/// Splits SQL into words, semicolons and everything else, and passes over comments and quoted text.
///
/// Source: PostgreSQL manual, "Lexical Structure". An escape string (`E'…\'…'`) is read as such.
private struct SQLScanner {
    enum Token {
        case word(Substring)
        case semicolon
        case other
    }

    private let text: String
    private var rest: Substring
    private(set) var line = 1

    init(_ text: String) {
        self.text = text
        rest = text[...]
    }

    mutating func next() -> Token? {
        while let character = rest.first {
            if character.isWhitespace {
                advance(1)
            } else if rest.hasPrefix("--") {
                skip(until: "\n")
            } else if rest.hasPrefix("/*") {
                skipBlockComment()
            } else {
                return token(beginningWith: character)
            }
        }
        return nil
    }

    private mutating func token(beginningWith character: Character) -> Token {
        switch character {
        case ";":
            advance(1)
            return .semicolon
        case "'", "\"":
            skipQuoted(character, hasEscapes: false)
            return .other
        case "$":
            return skipDollarQuoted()
        case _ where character.isLetter || character == "_":
            let word = rest.prefix { $0.isLetter || $0.isNumber || $0 == "_" || $0 == "$" }
            advance(word.count)
            if word.lowercased() == "e", rest.first == "'" {
                skipQuoted("'", hasEscapes: true)
                return .other
            }
            return .word(word)
        default:
            advance(1)
            return .other
        }
    }

    private mutating func advance(_ count: Int) {
        line += rest.prefix(count).count { $0.isNewline }
        rest = rest.dropFirst(count)
    }

    private mutating func skip(until end: Character) {
        advance(rest.prefix { $0 != end && !(end == "\n" && $0.isNewline) }.count)
    }

    private mutating func skipBlockComment() {
        var depth = 0
        repeat {
            if rest.hasPrefix("/*") {
                depth += 1
                advance(2)
            } else if rest.hasPrefix("*/") {
                depth -= 1
                advance(2)
            } else {
                advance(1)
            }
        } while depth > 0 && !rest.isEmpty
    }

    private mutating func skipQuoted(_ quote: Character, hasEscapes: Bool) {
        advance(1)
        while let character = rest.first {
            advance(character == "\\" && hasEscapes ? 2 : 1)
            // A doubled quote reads as the end of one string and the beginning of the next.
            if character == quote { return }
        }
    }

    private mutating func skipDollarQuoted() -> Token {
        let tag = rest.dropFirst().prefix { $0.isLetter || $0.isNumber || $0 == "_" }
        guard rest.dropFirst(tag.count + 1).first == "$" else {
            advance(1)
            return .other
        }
        let mark = "$\(tag)$"
        advance(mark.count)
        while !rest.isEmpty && !rest.hasPrefix(mark) { advance(1) }
        advance(mark.count)
        return .other
    }
}
