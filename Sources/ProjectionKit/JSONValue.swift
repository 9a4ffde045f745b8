package import FoundationEssentials
internal import CSimdJSON
internal import Glibc

/// Readers of one JSON value's text.
///
/// Each gives nil when the text is something else.
package enum JSONValue {
    /// Whether the text is `null`.
    static func isNull(_ text: UnsafeRawBufferPointer) -> Bool {
        text.count == 4 && text[0] == UInt8(ascii: "n") && text.elementsEqual("null".utf8)
    }

    /// What the text is, in words, for messages.
    ///
    /// Never the value.
    package static func kind(of text: UnsafeRawBufferPointer) -> String {
        switch text.first ?? 0 {
        case UInt8(ascii: "{"): "an object"
        case UInt8(ascii: "["): "an array"
        case UInt8(ascii: "\""): "a text"
        case UInt8(ascii: "t"), UInt8(ascii: "f"): "true or false"
        case UInt8(ascii: "n") where text.starts(with: "null".utf8): "null"
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): "a number"
        default: "malformed"
        }
    }

    static func int64(_ text: UnsafeRawBufferPointer) -> Int64? {
        guard let base = text.baseAddress, !text.isEmpty else { return nil }
        let bytes = base.assumingMemoryBound(to: UInt8.self)
        let isNegative = bytes[0] == UInt8(ascii: "-")
        let first = isNegative ? 1 : 0
        let digits = text.count - first
        guard digits > 0, bytes[first] != UInt8(ascii: "0") || digits == 1 else { return nil }
        // Counting downwards, because the most negative number has no positive twin.
        var value: Int64 = 0
        var index = first
        // So many digits cannot overflow.
        let safe = min(text.count, first + 18)
        while index < safe {
            let digit = bytes[index] &- 48
            guard digit <= 9 else { return nil }
            value = value &* 10 &- Int64(digit)
            index += 1
        }
        while index < text.count {
            let digit = bytes[index] &- 48
            guard digit <= 9 else { return nil }
            let (tenfold, overflow) = value.multipliedReportingOverflow(by: 10)
            let (next, underflow) = tenfold.subtractingReportingOverflow(Int64(digit))
            if overflow || underflow { return nil }
            value = next
            index += 1
        }
        if isNegative { return value }
        return value == .min ? nil : -value
    }

    static func int32(_ text: UnsafeRawBufferPointer) -> Int32? {
        int64(text).flatMap { Int32(exactly: $0) }
    }

    static func double(_ text: UnsafeRawBufferPointer) -> Double? {
        guard isNumber(text), let value = Double(String(decoding: text, as: UTF8.self)),
            value.isFinite
        else { return nil }
        return value
    }

    static func decimal(_ text: UnsafeRawBufferPointer) -> Decimal? {
        var digits = text[...]
        if text.first == UInt8(ascii: "\""), text.count > 2 {
            digits = text[1..<(text.count - 1)]
        }
        guard isDecimal(digits) else { return nil }
        return Decimal(string: String(decoding: digits, as: UTF8.self))
    }

    static func bool(_ text: UnsafeRawBufferPointer) -> Bool? {
        if text.elementsEqual("true".utf8) { return true }
        return text.elementsEqual("false".utf8) ? false : nil
    }

    /// A text with its escapes resolved; nil also when it holds `\u0000`.
    package static func string(_ text: UnsafeRawBufferPointer) -> String? {
        guard let inner = quoted(text) else { return nil }
        guard let base = inner.baseAddress, memchr(base, 0x5c, inner.count) != nil else {
            return String(decoding: inner, as: UTF8.self)
        }
        guard let bytes = unescaped(inner), !bytes.contains(0) else { return nil }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// A UUID in its usual form of 36 characters.
    package static func uuid(_ text: UnsafeRawBufferPointer) -> UUID? {
        quoted(text).flatMap { plainUUID($0) }
    }

    /// A UUID of 36 characters, without quotes around them.
    package static func plainUUID(_ characters: UnsafeRawBufferPointer) -> UUID? {
        guard characters.count == 36, let base = characters.baseAddress else { return nil }
        var words: (UInt64, UInt64) = (0, 0)
        let isUUID = withUnsafeMutableBytes(of: &words) {
            csj_uuid(
                base.assumingMemoryBound(to: UInt8.self),
                $0.baseAddress?.assumingMemoryBound(to: UInt8.self)
            )
        }
        return isUUID ? unsafeBitCast(words, to: UUID.self) : nil
    }

    /// An RFC 3339 time.
    package static func timestamp(_ text: UnsafeRawBufferPointer) -> Timestamp? {
        quoted(text).flatMap { Timestamp(rfc3339: $0) }
    }

    static func day(_ text: UnsafeRawBufferPointer) -> Day? {
        quoted(text).flatMap { Day(iso8601: $0) }
    }

    static func jsonText(_ text: UnsafeRawBufferPointer) -> JSONText? {
        JSONText(String(decoding: text, as: UTF8.self))
    }
}

extension JSONValue {
    /// Whether the text is a number by the grammar of RFC 8259 section 6; `Double` reads more, such
    /// as `0x10`.
    private static func isNumber(_ text: UnsafeRawBufferPointer) -> Bool {
        var rest = text[...]
        func dropDigits() -> Int {
            let digits = rest.prefix { $0 >= 48 && $0 <= 57 }.count
            rest = rest.dropFirst(digits)
            return digits
        }
        if rest.first == UInt8(ascii: "-") { rest = rest.dropFirst() }
        let leading = rest.first
        let whole = dropDigits()
        guard whole == 1 || (whole > 1 && leading != 48) else { return false }
        if rest.first == UInt8(ascii: ".") {
            rest = rest.dropFirst()
            guard dropDigits() > 0 else { return false }
        }
        if rest.first == UInt8(ascii: "e") || rest.first == UInt8(ascii: "E") {
            rest = rest.dropFirst()
            if rest.first == UInt8(ascii: "+") || rest.first == UInt8(ascii: "-") {
                rest = rest.dropFirst()
            }
            guard dropDigits() > 0 else { return false }
        }
        return rest.isEmpty
    }

    private static func quoted(_ text: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
        guard text.count >= 2, let base = text.baseAddress,
            text[0] == UInt8(ascii: "\""), text[text.count - 1] == UInt8(ascii: "\"")
        else { return nil }
        return UnsafeRawBufferPointer(start: base + 1, count: text.count - 2)
    }

    @inline(__always)
    private static func hexDigit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 48...57: byte - 48
        case 97...102: byte - 87
        case 65...70: byte - 55
        default: nil
        }
    }

    /// Whether the text is a JSON number that `Decimal` holds exactly: at most 38 significant
    /// digits, and an exponent that keeps it within its range of ±127.
    private static func isDecimal(_ text: Slice<UnsafeRawBufferPointer>) -> Bool {
        var rest = text
        if rest.first == UInt8(ascii: "-") { rest = rest.dropFirst() }
        let whole = rest.prefix { $0 >= 48 && $0 <= 57 }
        rest = rest.dropFirst(whole.count)
        guard !whole.isEmpty else { return false }
        var digits = Array(whole)
        var scale = 0
        if rest.first == UInt8(ascii: ".") {
            let fraction = rest.dropFirst().prefix { $0 >= 48 && $0 <= 57 }
            guard !fraction.isEmpty else { return false }
            digits += fraction
            scale = fraction.count
            rest = rest.dropFirst(fraction.count + 1)
        }
        var exponent = 0
        if rest.first == UInt8(ascii: "e") || rest.first == UInt8(ascii: "E") {
            guard let written = Int(String(decoding: rest.dropFirst(), as: UTF8.self)),
                (-200...200).contains(written)
            else { return false }
            exponent = written
            rest = rest.dropFirst(rest.count)
        }
        let significant = digits.drop { $0 == 48 }.count
        return rest.isEmpty && significant <= 38 && (-120...80).contains(exponent - scale)
    }

    private static func unescaped(_ text: UnsafeRawBufferPointer) -> [UInt8]? {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.count)
        var index = 0
        while index < text.count {
            guard text[index] == 0x5c else {
                bytes.append(text[index])
                index += 1
                continue
            }
            guard index + 1 < text.count else { return nil }
            if text[index + 1] == UInt8(ascii: "u") {
                guard let scalar = escapedScalar(text, &index) else { return nil }
                bytes.append(contentsOf: String(scalar).utf8)
            } else {
                guard let byte = escapedByte(text[index + 1]) else { return nil }
                bytes.append(byte)
                index += 2
            }
        }
        return bytes
    }

    private static func escapedByte(_ letter: UInt8) -> UInt8? {
        switch letter {
        case UInt8(ascii: "n"): 0x0a
        case UInt8(ascii: "t"): 0x09
        case UInt8(ascii: "r"): 0x0d
        case UInt8(ascii: "b"): 0x08
        case UInt8(ascii: "f"): 0x0c
        case UInt8(ascii: "\""), UInt8(ascii: "/"), 0x5c: letter
        default: nil
        }
    }

    /// Reads `\uXXXX`, or two of them that form a surrogate pair, and moves past it.
    private static func escapedScalar(
        _ text: UnsafeRawBufferPointer,
        _ index: inout Int
    ) -> Unicode.Scalar? {
        guard let first = codeUnit(text, at: index) else { return nil }
        index += 6
        guard UTF16.isLeadSurrogate(first) else { return Unicode.Scalar(first) }
        guard let second = codeUnit(text, at: index), UTF16.isTrailSurrogate(second) else {
            return nil
        }
        index += 6
        let value = 0x10000 + (UInt32(first) - 0xd800) << 10 + (UInt32(second) - 0xdc00)
        return Unicode.Scalar(value)
    }

    private static func codeUnit(_ text: UnsafeRawBufferPointer, at index: Int) -> UInt16? {
        guard index + 6 <= text.count, text[index] == 0x5c, text[index + 1] == UInt8(ascii: "u")
        else { return nil }
        var value: UInt16 = 0
        for offset in 2..<6 {
            guard let digit = hexDigit(text[index + offset]) else { return nil }
            value = value << 4 | UInt16(digit)
        }
        return value
    }
}
