/// What keeps valid JSON from being stored, found by a grammar of its own: the parser's words do
/// not tell it from what is not JSON.
struct JSONFindings: Equatable {
    /// Whether a string holds `\u0000`.
    private(set) var hasNull = false
    /// Whether a string holds half of a surrogate pair.
    private(set) var hasLoneSurrogate = false
    /// How deep objects and arrays stand in each other.
    private(set) var depth = 0
    /// Whether the text is JSON by RFC 8259.
    private(set) var isValid = true

    /// Values that would stand deeper than this become text, so that they can be read from inside a
    /// record and by themselves.
    static let deepest = 1_000

    /// Looks at one text.
    init(of text: UnsafeRawBufferPointer) {
        var grammar = JSONGrammar(text)
        isValid = grammar.run()
        hasNull = grammar.hasNull
        hasLoneSurrogate = grammar.hasLoneSurrogate
        depth = grammar.depth
    }

    /// Why valid JSON cannot be stored, as a clause; nil where nothing of the kind was found.
    var reason: String? {
        guard isValid else { return nil }
        if hasNull { return "holds U+0000 (\\u0000), which PostgreSQL cannot store" }
        if hasLoneSurrogate {
            return "holds half of a surrogate pair (\\ud800 to \\udfff), which is no character"
        }
        return depth > Self.deepest
            ? "is nested \(depth) levels deep; \(Self.deepest) can be read" : nil
    }

    /// The text with U+FFFD for U+0000 and for halves of surrogate pairs, and with what is nested
    /// deeper than ``deepest`` as the text of its JSON.
    static func replaced(_ text: UnsafeRawBufferPointer) -> [UInt8] {
        var bytes = withoutBadEscapes(text)
        guard bytes.withUnsafeBytes({ JSONFindings(of: $0).depth }) > deepest else { return bytes }
        bytes = bytes.withUnsafeBytes { flattened($0) }
        return bytes
    }

    private static func withoutBadEscapes(_ text: UnsafeRawBufferPointer) -> [UInt8] {
        var bytes = Array(text)
        var index = 0
        while index + 1 < text.count {
            guard text[index] == UInt8(ascii: "\\") else {
                index += 1
                continue
            }
            guard let unit = JSONText.codeUnit(text, at: index) else {
                index += 2
                continue
            }
            if UTF16.isLeadSurrogate(unit), let next = JSONText.codeUnit(text, at: index + 6),
                UTF16.isTrailSurrogate(next)
            {
                index += 12
                continue
            }
            if unit == 0 || (0xd800...0xdfff).contains(unit) {
                bytes.replaceSubrange(index..<(index + 6), with: "\\ufffd".utf8)
            }
            index += 6
        }
        return bytes
    }

    private static func flattened(_ text: UnsafeRawBufferPointer) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.count + 64)
        var depth = 0
        var isInString = false
        // Where a value that is nested too deep begins.
        var begin = -1
        var index = 0
        while index < text.count {
            let byte = text[index]
            let first = index
            index += 1
            if isInString {
                if byte == UInt8(ascii: "\\") { index = min(index + 1, text.count) }
                if byte == UInt8(ascii: "\"") { isInString = false }
            } else if byte == UInt8(ascii: "\"") {
                isInString = true
            } else if byte == UInt8(ascii: "{") || byte == UInt8(ascii: "[") {
                depth += 1
                if depth == deepest + 1 { begin = first }
            } else if byte == UInt8(ascii: "}") || byte == UInt8(ascii: "]") {
                depth -= 1
                if depth == deepest {
                    JSONText.appendString(text[begin..<index], to: &bytes)
                    begin = -1
                    continue
                }
            }
            if begin < 0 { bytes.append(contentsOf: text[first..<index]) }
        }
        return bytes
    }
}

/// The grammar of RFC 8259, without recursion.
private struct JSONGrammar {
    private let text: UnsafeRawBufferPointer
    private var index = 0
    /// Whether each open bracket is an object's.
    private var open: [Bool] = []
    private(set) var hasNull = false
    private(set) var hasLoneSurrogate = false
    private(set) var depth = 0

    init(_ text: UnsafeRawBufferPointer) {
        self.text = text
    }

    mutating func run() -> Bool {
        repeat {
            guard value() else { return false }
            while let isObject = open.last, !open.isEmpty {
                guard let next = closeOrContinue(isObject) else { return false }
                if next { break }
            }
        } while !open.isEmpty
        skipSpace()
        return index == text.count
    }

    /// Behind a value inside an object or an array.
    ///
    /// - Returns: True where another value follows, false where the bracket was closed, nil for an
    ///   error.
    private mutating func closeOrContinue(_ isObject: Bool) -> Bool? {
        skipSpace()
        if skip(UInt8(ascii: ",")) { return isObject ? (key() ? true : nil) : true }
        guard skip(isObject ? UInt8(ascii: "}") : UInt8(ascii: "]")) else { return nil }
        open.removeLast()
        return false
    }

    /// A scalar or an empty bracket pair; or opens a bracket, up to its first scalar.
    private mutating func value() -> Bool {
        while true {
            skipSpace()
            guard index < text.count else { return false }
            switch text[index] {
            case UInt8(ascii: "{"):
                push(true)
                skipSpace()
                if skip(UInt8(ascii: "}")) {
                    open.removeLast()
                    return true
                }
                guard key() else { return false }
            case UInt8(ascii: "["):
                push(false)
                skipSpace()
                if skip(UInt8(ascii: "]")) {
                    open.removeLast()
                    return true
                }
            case UInt8(ascii: "\""): return string()
            case UInt8(ascii: "t"): return word("true")
            case UInt8(ascii: "f"): return word("false")
            case UInt8(ascii: "n"): return word("null")
            default: return number()
            }
        }
    }

    private mutating func push(_ isObject: Bool) {
        index += 1
        open.append(isObject)
        depth = max(depth, open.count)
    }

    private mutating func key() -> Bool {
        skipSpace()
        guard index < text.count, text[index] == UInt8(ascii: "\""), string() else { return false }
        skipSpace()
        return skip(UInt8(ascii: ":"))
    }

    private mutating func string() -> Bool {
        let start = index + 1
        index = start
        while index < text.count {
            switch text[index] {
            case UInt8(ascii: "\""):
                let inner = UnsafeRawBufferPointer(rebasing: text[start..<index])
                index += 1
                return String(validating: inner, as: UTF8.self) != nil
            case UInt8(ascii: "\\"): guard escape() else { return false }
            case 0..<0x20: return false
            default: index += 1
            }
        }
        return false
    }

    private mutating func escape() -> Bool {
        guard index + 1 < text.count else { return false }
        guard text[index + 1] == UInt8(ascii: "u") else {
            let isKnown = "\"\\/bfnrt".utf8.contains(text[index + 1])
            index += 2
            return isKnown
        }
        guard let unit = JSONText.codeUnit(text, at: index) else { return false }
        index += 6
        if unit == 0 { hasNull = true }
        guard (0xd800...0xdfff).contains(unit) else { return true }
        if UTF16.isLeadSurrogate(unit), let next = JSONText.codeUnit(text, at: index),
            UTF16.isTrailSurrogate(next)
        {
            index += 6
        } else {
            hasLoneSurrogate = true
        }
        return true
    }

    private mutating func number() -> Bool {
        _ = skip(UInt8(ascii: "-"))
        if !skip(UInt8(ascii: "0")) { guard skipDigits() else { return false } }
        if skip(UInt8(ascii: ".")) { guard skipDigits() else { return false } }
        if skip(UInt8(ascii: "e")) || skip(UInt8(ascii: "E")) {
            if !skip(UInt8(ascii: "+")) { _ = skip(UInt8(ascii: "-")) }
            guard skipDigits() else { return false }
        }
        return true
    }

    private mutating func skipDigits() -> Bool {
        let start = index
        while index < text.count, (48...57).contains(text[index]) { index += 1 }
        return index > start
    }

    private mutating func word(_ word: String) -> Bool {
        let isThere = text[index...].starts(with: word.utf8)
        index += word.utf8.count
        return isThere
    }

    private mutating func skip(_ byte: UInt8) -> Bool {
        guard index < text.count, text[index] == byte else { return false }
        index += 1
        return true
    }

    private mutating func skipSpace() {
        while index < text.count, JSONText.isSpace(text[index]) { index += 1 }
    }
}
