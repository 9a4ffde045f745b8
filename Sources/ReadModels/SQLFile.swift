import Postgres
import Wording

/// A file of SQL that belongs to a projection, run inside a transaction that is not its own.
struct SQLFile: Sendable {
    /// The name people know it by, such as `schema.sql`.
    let name: String
    /// Its text, without the byte order mark that some editors put in front of it.
    let text: String

    init(name: String, text: String) {
        self.name = name
        let scalars = text.unicodeScalars
        self.text = scalars.first == "\u{FEFF}" ? String(scalars.dropFirst()) : text
    }

    /// Runs all statements in the open transaction.
    ///
    /// - Returns: The results of all statements, in order.
    /// - Throws: ``ReadModelError/refusedByPlan(projection:reasons:)`` when the file ends the
    ///   transaction or a statement fails; ``ServerError`` when a right is missing, a value is too
    ///   new, or the file is not to blame.
    @discardableResult
    func run(
        for projection: String,
        on connection: PostgresConnection
    ) async throws -> [QueryResult] {
        if let complaint = transactionComplaint {
            throw ReadModelError.refusedByPlan(projection: projection, reasons: [complaint])
        }
        do {
            return try await connection.executeEach(text)
        } catch let error as ServerError
            where error.sqlState != "42501" && error.sqlState != SQLFile.newEnumValue
            && !error.isNobodysFault
        {
            throw ReadModelError.refusedByPlan(
                projection: projection,
                reasons: ["\(name): \(TextForPeople.oneLine(error))"]
            )
        } catch let error as StatementError {
            throw ReadModelError.refusedByPlan(
                projection: projection,
                reasons: ["\(name): \(TextForPeople.oneLine(error))"]
            )
        }
    }

    /// SQLSTATE of an enum's value that is used in the transaction that adds it.
    static let newEnumValue = "55P04"

    /// A statement of the file.
    struct Statement {
        let text: String
        /// Whether it is a query that can stand inside another one.
        let isQuery: Bool

        /// The query that counts its rows, or the statement itself.
        var counting: String {
            isQuery ? "SELECT pg_catalog.count(*) AS count FROM (\(text)\n) AS q" : text
        }

        /// The query that has its columns and no row.
        var columns: String { "SELECT * FROM (\(text)\n) AS q LIMIT 0" }
    }

    /// The statements, parted by semicolons; a function's body in SQL syntax is taken for several.
    var statements: [Statement] {
        var scanner = SQLScanner(text)
        var statements: [Statement] = []
        var begin: String.Index?
        var isQuery = false
        func end(at index: String.Index) {
            if let begin {
                statements.append(Statement(text: String(text[begin..<index]), isQuery: isQuery))
            }
            begin = nil
        }
        while let token = scanner.next() {
            if case .semicolon = token {
                end(at: scanner.lastBegin)
            } else if begin == nil {
                begin = scanner.lastBegin
                isQuery =
                    if case .word(let word) = token {
                        SQLFile.queryWords.contains(word.lowercased())
                    } else { false }
            }
        }
        end(at: text.endIndex)
        return statements
    }

    /// The statements, where each is a query that stands by itself, so that they may run in any order
    /// and on any connection; nil when one of them is something else, such as SET LOCAL.
    var queries: [String]? {
        let statements = statements
        return statements.allSatisfy(\.isQuery) ? statements.map(\.text) : nil
    }

    /// What a query begins with; one in parentheses is not worth telling from other things.
    private static let queryWords: Set<String> = ["select", "with", "table", "values"]

    /// What to say about a statement that begins or ends a transaction; nil when there is none.
    var transactionComplaint: String? {
        lineOfTransactionControl.map {
            "\(name), line \($0): BEGIN, COMMIT and their like have no place here; the file runs "
                + "inside a transaction."
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
            case .semicolon:
                isFirstWord = true
                previous = ""
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
            case .other:
                isFirstWord = false
                previous = ""
            }
        }
        return nil
    }

    private static let control: Set<String> = [
        "abort", "begin", "commit", "end", "prepare", "release", "rollback", "savepoint", "start",
    ]
}

extension ServerError {
    /// A cancelled statement, a session that was ended, a deadlock, a lock or memory or disk that was
    /// not to be had: the same statement may go well the next time.
    var isNobodysFault: Bool {
        ["08", "40", "53", "57"].contains(sqlState.prefix(2)) || sqlState == "55P03"
    }
}

/// Splits SQL into words, semicolons and everything else, and passes over comments and quoted text.
///
/// Source: PostgreSQL manual, "Lexical Structure". An escape string (`E'…\'…'`) is read as such.
private struct SQLScanner {
    enum Token {
        case word(String)
        case semicolon
        case other
    }

    // Scalars, not characters: a combining mark after a quote makes one character of the two, and
    // the server sees the quote.
    private var rest: Substring.UnicodeScalarView
    private(set) var line = 1
    /// Where the last token begins.
    private(set) var lastBegin: String.Index

    init(_ text: String) {
        rest = text[...].unicodeScalars
        lastBegin = text.startIndex
    }

    mutating func next() -> Token? {
        while let character = rest.first {
            if character.isSpace {
                advance(1)
            } else if rest.begins(with: "--") {
                skipLine()
            } else if rest.begins(with: "/*") {
                skipBlockComment()
            } else {
                return token(beginningWith: character)
            }
        }
        return nil
    }

    private mutating func token(beginningWith character: Unicode.Scalar) -> Token {
        lastBegin = rest.startIndex
        switch character {
        case ";":
            advance(1)
            return .semicolon
        case "'", "\"":
            skipQuoted(character, hasEscapes: false)
            return .other
        case "$":
            return skipDollarQuoted()
        case _ where character.beginsName:
            let word = String(rest.prefix { $0.continuesName || $0 == "$" })
            advance(word.unicodeScalars.count)
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
        line += rest.prefix(count).count { $0 == "\n" }
        rest = rest.dropFirst(count)
    }

    private mutating func skipLine() {
        // What the server's own scanner ends a comment with.
        advance(rest.prefix { $0 != "\n" && $0 != "\r" }.count)
    }

    private mutating func skipBlockComment() {
        var depth = 0
        repeat {
            if rest.begins(with: "/*") {
                depth += 1
                advance(2)
            } else if rest.begins(with: "*/") {
                depth -= 1
                advance(2)
            } else {
                advance(1)
            }
        } while depth > 0 && !rest.isEmpty
    }

    private mutating func skipQuoted(_ quote: Unicode.Scalar, hasEscapes: Bool) {
        advance(1)
        while let character = rest.first {
            advance(character == "\\" && hasEscapes ? 2 : 1)
            guard character == quote else { continue }
            // A doubled quote belongs to the text, and escapes go on behind it.
            guard rest.first == quote else { return }
            advance(1)
        }
    }

    private mutating func skipDollarQuoted() -> Token {
        let tag = String(rest.dropFirst().prefix(while: \.continuesName))
        let isMark = tag.unicodeScalars.first?.beginsName ?? true
        guard isMark, rest.dropFirst(tag.unicodeScalars.count + 1).first == "$" else {
            advance(1)
            return .other
        }
        let mark = "$\(tag)$"
        advance(mark.unicodeScalars.count)
        while !rest.isEmpty && !rest.begins(with: mark) { advance(1) }
        advance(mark.unicodeScalars.count)
        return .other
    }
}

extension Substring.UnicodeScalarView {
    fileprivate func begins(with text: String) -> Bool { starts(with: text.unicodeScalars) }
}

extension Unicode.Scalar {
    /// White space of ASCII: any other is a part of a name (`space` in PostgreSQL's scan.l).
    fileprivate var isSpace: Bool { value == 0x20 || (0x09...0x0d).contains(value) }

    /// A letter, `_`, or anything beyond ASCII (`ident_start` in PostgreSQL's scan.l).
    fileprivate var beginsName: Bool {
        value >= 0x80 || self == "_" || ("a"..."z").contains(self) || ("A"..."Z").contains(self)
    }

    /// The same or a digit.
    fileprivate var continuesName: Bool { beginsName || ("0"..."9").contains(self) }
}
