/// Steps through the text of one JSON value that is known to be valid.
struct JSONWalk {
    private let text: UnsafeRawBufferPointer
    private var index = 0

    init(_ text: UnsafeRawBufferPointer) {
        self.text = text
        skipSpace()
    }

    /// The text of the value at a pointer; nil where there is none.
    ///
    /// Where a key stands twice, the last one counts.
    static func value(
        at tokens: ArraySlice<JSONPointer.Token>,
        in text: UnsafeRawBufferPointer
    ) -> UnsafeRawBufferPointer? {
        var value = text
        for token in tokens {
            guard let next = JSONWalk(value).child(token) else { return nil }
            value = next
        }
        return value
    }

    private func child(_ token: JSONPointer.Token) -> UnsafeRawBufferPointer? {
        var walk = self
        switch walk.peek() {
        case UInt8(ascii: "{"): return walk.member(token.key)
        case UInt8(ascii: "["): return token.index.flatMap { walk.element($0) }
        default: return nil
        }
    }

    private mutating func member(_ key: [UInt8]) -> UnsafeRawBufferPointer? {
        var found: UnsafeRawBufferPointer?
        advance()
        while peek() == UInt8(ascii: "\"") {
            let name = value()
            advance()
            let value = value()
            if JSONText.isString(name, equalTo: key) { found = value }
            guard peek() == UInt8(ascii: ",") else { break }
            advance()
        }
        return found
    }

    private mutating func element(_ wanted: Int) -> UnsafeRawBufferPointer? {
        advance()
        var number = 0
        while peek() != UInt8(ascii: "]"), peek() != 0 {
            let value = value()
            if number == wanted { return value }
            number += 1
            guard peek() == UInt8(ascii: ",") else { break }
            advance()
        }
        return nil
    }

    private func peek() -> UInt8 { index < text.count ? text[index] : 0 }

    private mutating func advance() {
        index += 1
        skipSpace()
    }

    private mutating func skipSpace() {
        while index < text.count, JSONText.isSpace(text[index]) { index += 1 }
    }

    /// Passes over a value and the white space behind it.
    private mutating func value() -> UnsafeRawBufferPointer {
        let start = index
        var depth = 0
        repeat {
            switch peek() {
            case UInt8(ascii: "\""): skipString()
            case UInt8(ascii: "{"), UInt8(ascii: "["):
                depth += 1
                index += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                depth -= 1
                index += 1
            case UInt8(ascii: ","), UInt8(ascii: ":"), 0x20, 0x09, 0x0a, 0x0d: index += 1
            default: skipScalar()
            }
        } while depth > 0 && index < text.count
        let end = min(index, text.count)
        skipSpace()
        return UnsafeRawBufferPointer(rebasing: text[start..<end])
    }

    private mutating func skipString() {
        index += 1
        while index < text.count, text[index] != UInt8(ascii: "\"") {
            index += text[index] == UInt8(ascii: "\\") ? 2 : 1
        }
        index += 1
    }

    private mutating func skipScalar() {
        index += 1
        while index < text.count, !JSONText.endsScalar(text[index]) { index += 1 }
    }
}

/// What is written in JSON, byte by byte.
enum JSONText {
    static func isSpace(_ byte: UInt8) -> Bool {
        byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09
    }

    static func endsScalar(_ byte: UInt8) -> Bool {
        isSpace(byte) || byte == UInt8(ascii: ",") || byte == UInt8(ascii: "]")
            || byte == UInt8(ascii: "}") || byte == UInt8(ascii: ":")
    }

    /// Appends the text as a JSON string, with quotes.
    static func appendString(_ text: some Sequence<UInt8>, to target: inout [UInt8]) {
        target.append(UInt8(ascii: "\""))
        for byte in text { appendEscaped(byte, to: &target) }
        target.append(UInt8(ascii: "\""))
    }

    private static func appendEscaped(_ byte: UInt8, to target: inout [UInt8]) {
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"):
            target.append(UInt8(ascii: "\\"))
            target.append(byte)
        case 0x0a: target.append(contentsOf: "\\n".utf8)
        case 0x0d: target.append(contentsOf: "\\r".utf8)
        case 0x09: target.append(contentsOf: "\\t".utf8)
        case 0..<0x20:
            let digits = Array("0123456789abcdef".utf8)
            target.append(contentsOf: "\\u00".utf8)
            target.append(digits[Int(byte >> 4)])
            target.append(digits[Int(byte & 15)])
        default: target.append(byte)
        }
    }

    /// Whether a JSON string, with its quotes, stands for these bytes.
    static func isString(_ text: UnsafeRawBufferPointer, equalTo bytes: [UInt8]) -> Bool {
        guard text.count >= 2 else { return false }
        let inner = UnsafeRawBufferPointer(rebasing: text[1..<(text.count - 1)])
        guard inner.contains(UInt8(ascii: "\\")) else { return inner.elementsEqual(bytes) }
        var plain: [UInt8] = []
        return appendUnescaped(inner, to: &plain) && plain == bytes
    }

    /// Resolves the escapes of a string without its quotes.
    ///
    /// - Returns: Whether each escape stands for a character; where not, U+FFFD is put there.
    @discardableResult
    static func appendUnescaped(_ text: UnsafeRawBufferPointer, to target: inout [UInt8]) -> Bool {
        var index = 0
        var isWhole = true
        while index < text.count {
            guard text[index] == UInt8(ascii: "\\"), index + 1 < text.count else {
                target.append(text[index])
                index += 1
                continue
            }
            let letter = text[index + 1]
            guard letter == UInt8(ascii: "u") else {
                target.append(plainByte(letter))
                index += 2
                continue
            }
            let first = codeUnit(text, at: index)
            index += 6
            guard let first else {
                isWhole = false
                continue
            }
            var scalar = Unicode.Scalar(UInt32(first))
            if UTF16.isLeadSurrogate(first), let second = codeUnit(text, at: index),
                UTF16.isTrailSurrogate(second)
            {
                index += 6
                scalar = Unicode.Scalar(
                    0x10000 + (UInt32(first) - 0xd800) << 10 + (UInt32(second) - 0xdc00)
                )
            }
            if scalar == nil { isWhole = false }
            target.append(contentsOf: String(scalar ?? "\u{fffd}").utf8)
        }
        return isWhole
    }

    private static func plainByte(_ letter: UInt8) -> UInt8 {
        switch letter {
        case UInt8(ascii: "n"): 0x0a
        case UInt8(ascii: "t"): 0x09
        case UInt8(ascii: "r"): 0x0d
        case UInt8(ascii: "b"): 0x08
        case UInt8(ascii: "f"): 0x0c
        default: letter
        }
    }

    /// The code unit of `\uXXXX` at an index; nil where something else stands there.
    static func codeUnit(_ text: UnsafeRawBufferPointer, at index: Int) -> UInt16? {
        guard index + 6 <= text.count, text[index] == UInt8(ascii: "\\"),
            text[index + 1] == UInt8(ascii: "u")
        else { return nil }
        var value: UInt16 = 0
        for byte in text[(index + 2)..<(index + 6)] {
            guard let digit = hexDigit(byte) else { return nil }
            value = value << 4 | UInt16(digit)
        }
        return value
    }

    private static func hexDigit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 48...57: byte - 48
        case 97...102: byte - 87
        case 65...70: byte - 55
        default: nil
        }
    }
}
