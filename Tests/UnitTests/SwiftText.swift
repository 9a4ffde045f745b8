/// A Swift source split into its code and its comments, both with the lines of the original.
///
/// It knows comments, string literals of every kind and braces, which is enough to find the
/// functions of a file and what is said about them. It is no parser: a regular expression literal
/// with a quote in it is taken for a string, to the end of its line at most.
struct SwiftText {
    /// The source with comments and string literals blanked.
    let code: [UInt8]
    /// The source with everything but comments blanked.
    let comments: [UInt8]

    /// A function, initialiser or subscript that has a body.
    struct Function: Equatable {
        /// Its name, or the keyword when it has none.
        let name: String
        /// The line of its keyword, counted from 1.
        let line: Int
        /// Its lines from the keyword to the closing brace.
        let length: Int
    }

    /// Splits a source.
    init(_ text: String) {
        var scanner = Scanner(source: Array(text.utf8))
        scanner.scanCode(until: nil)
        code = scanner.code
        comments = scanner.comments
    }

    /// The lines of a blanked source.
    static func lines(of bytes: [UInt8]) -> [String] {
        bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
            .map { String(decoding: $0, as: UTF8.self) }
    }

    /// The functions with a body, in the order of their keywords.
    var functions: [Function] {
        let words = Self.words(of: code)
        let declarations = Set(words.filter { Self.declarations.contains($0.text) }.map(\.start))
        var line = 1
        var counted = 0
        return words.indices.compactMap { index in
            let word = words[index]
            guard isFunction(word) else { return nil }
            let (name, head) = name(of: word, next: words[index...].dropFirst().first)
            guard let end = endOfBody(from: head, declarations: declarations) else { return nil }
            line += code[counted..<word.start].count { $0 == UInt8(ascii: "\n") }
            counted = word.start
            let length = code[word.start..<end].count { $0 == UInt8(ascii: "\n") } + 1
            return Function(name: name, line: line, length: length)
        }
    }

    private struct Word {
        let text: String
        let start: Int
        let end: Int
    }

    private static func words(of code: [UInt8]) -> [Word] {
        var words: [Word] = []
        var start: Int?
        for (offset, byte) in (code + [UInt8(ascii: " ")]).enumerated() {
            if isPartOfWord(byte) {
                start = start ?? offset
            } else if let begin = start {
                let text = String(decoding: code[begin..<offset], as: UTF8.self)
                words.append(Word(text: text, start: begin, end: offset))
                start = nil
            }
        }
        return words
    }

    private static func isPartOfWord(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), 0x80...:
            true
        default:
            false
        }
    }

    /// Words that begin another declaration, and so end one that has no body.
    private static let declarations: Set = [
        "func", "var", "let", "init", "subscript", "associatedtype", "case", "static",
    ]

    /// `init` and `subscript` are also called, always after a point.
    private func isFunction(_ word: Word) -> Bool {
        ["func", "init", "deinit", "subscript"].contains(word.text)
            && (word.start == 0 || code[word.start - 1] != UInt8(ascii: "."))
    }

    /// What is declared, and the offset behind that.
    private func name(of word: Word, next: Word?) -> (String, Int) {
        guard word.text == "func" else { return (word.text, word.end) }
        let operatorBytes = code[word.end...].drop {
            $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "`")
        }
        .prefix { $0 != UInt8(ascii: "(") && $0 != UInt8(ascii: " ") }
        // The word behind `func` is a name, whatever it looks like, unless an operator is declared.
        if let next, next.start == operatorBytes.startIndex { return (next.text, next.end) }
        return (String(decoding: operatorBytes, as: UTF8.self), operatorBytes.endIndex)
    }

    /// The offset behind the closing brace, or nil for a requirement of a protocol.
    private func endOfBody(from head: Int, declarations: Set<Int>) -> Int? {
        var parentheses = 0
        var braces = 0
        for offset in head..<code.count {
            let isInHead = parentheses == 0 && braces == 0
            if isInHead, declarations.contains(offset) { return nil }
            switch code[offset] {
            case UInt8(ascii: "("), UInt8(ascii: "["): parentheses += 1
            case UInt8(ascii: ")"), UInt8(ascii: "]"): parentheses -= 1
            case UInt8(ascii: "{") where isInHead || braces > 0: braces += 1
            case UInt8(ascii: "}") where isInHead: return nil
            case UInt8(ascii: "}") where braces > 0:
                braces -= 1
                if braces == 0 { return offset + 1 }
            default: break
            }
        }
        return nil
    }
}

extension SwiftText {
    /// Walks a source once; whatever it walks over is blanked in `code`, `comments` or both.
    private struct Scanner {
        let source: [UInt8]
        var code: [UInt8]
        var comments: [UInt8]
        var offset = 0

        init(source: [UInt8]) {
            self.source = source
            code = source.map { $0 == UInt8(ascii: "\n") ? $0 : UInt8(ascii: " ") }
            comments = code
        }

        func isAt(_ text: String) -> Bool {
            source[offset...].starts(with: text.utf8)
        }

        /// Copies code to its end, or walks over an interpolation to `closing`.
        mutating func scanCode(until closing: UInt8?) {
            var depth = 0
            while offset < source.count {
                let byte = source[offset]
                if isAt("//") {
                    scanLineComment()
                } else if isAt("/*") {
                    scanBlockComment()
                } else if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "#") {
                    scanStringOrHash()
                } else {
                    offset += 1
                    guard closing != nil else {
                        code[offset - 1] = byte
                        continue
                    }
                    if byte == UInt8(ascii: "(") { depth += 1 }
                    if byte == closing, depth == 0 { return }
                    if byte == closing { depth -= 1 }
                }
            }
        }

        mutating func scanLineComment() {
            while offset < source.count, source[offset] != UInt8(ascii: "\n") {
                comments[offset] = source[offset]
                offset += 1
            }
        }

        mutating func scanBlockComment() {
            var depth = 0
            repeat {
                let width = isAt("/*") || isAt("*/") ? 2 : 1
                if isAt("/*") { depth += 1 }
                if isAt("*/") { depth -= 1 }
                for position in offset..<min(offset + width, source.count) {
                    comments[position] = source[position]
                }
                offset += width
            } while depth > 0 && offset < source.count
        }

        mutating func scanStringOrHash() {
            var hashes = 0
            while offset + hashes < source.count, source[offset + hashes] == UInt8(ascii: "#") {
                hashes += 1
            }
            let quote = offset + hashes
            guard quote < source.count, source[quote] == UInt8(ascii: "\"") else {
                // `#expect`, `#if`: code.
                for position in offset..<quote { code[position] = source[position] }
                offset = quote
                return
            }
            offset = quote
            let isMultiline = isAt("\"\"\"")
            offset += isMultiline ? 3 : 1
            scanString(isMultiline: isMultiline, hashes: String(repeating: "#", count: hashes))
        }

        mutating func scanString(isMultiline: Bool, hashes: String) {
            let end = (isMultiline ? "\"\"\"" : "\"") + hashes
            while offset < source.count {
                if isAt(end) {
                    offset += end.utf8.count
                    return
                }
                if !isMultiline, source[offset] == UInt8(ascii: "\n") { return }
                if isAt("\\" + hashes + "(") {
                    offset += 2 + hashes.utf8.count
                    scanCode(until: UInt8(ascii: ")"))
                } else if isAt("\\" + hashes) {
                    // The escaped character, which may be a quote.
                    offset += 2 + hashes.utf8.count
                } else {
                    offset += 1
                }
            }
        }
    }
}
