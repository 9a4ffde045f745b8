/// One JSON value, read by the grammar of RFC 8259 and by nothing of the product's.
indirect enum PlainJSON: Equatable {
    case null
    case bool(Bool)
    case number(String)
    /// Nil where it holds half of a surrogate pair.
    case string([UInt8]?)
    case array([PlainJSON])
    case object([(key: [UInt8]?, value: PlainJSON, text: Range<Int>)])

    static func == (left: PlainJSON, right: PlainJSON) -> Bool { "\(left)" == "\(right)" }

    /// The value of a key, the last one where it stands twice.
    func value(of key: String) -> PlainJSON? {
        guard case .object(let fields) = self else { return nil }
        return fields.last { $0.key == Array(key.utf8) }?.value
    }

    /// Whether a string in it cannot be stored, a key included.
    var holdsWhatCannotBeStored: Bool {
        switch self {
        case .null, .bool, .number: false
        case .string(let bytes): bytes?.contains(0) ?? true
        case .array(let values): values.contains(where: \.holdsWhatCannotBeStored)
        case .object(let fields):
            fields.contains {
                ($0.key?.contains(0) ?? true) || $0.value.holdsWhatCannotBeStored
            }
        }
    }
}

/// Reads a text of JSON that is nested at most ``PlainJSONReader/deepest`` levels.
struct PlainJSONReader {
    /// Deeper texts are not read: the reader recurs.
    static let deepest = 200

    private let text: [UInt8]
    private var index = 0
    private(set) var isTooDeep = false

    init(_ text: [UInt8]) {
        self.text = text
    }

    /// The value that the whole text is; nil where it is none.
    mutating func document() -> PlainJSON? {
        guard String(validating: text, as: UTF8.self) != nil, let value = value(0) else {
            return nil
        }
        skipSpace()
        return index == text.count ? value : nil
    }

    private mutating func value(_ depth: Int) -> PlainJSON? {
        guard depth < Self.deepest else {
            isTooDeep = true
            return nil
        }
        skipSpace()
        switch peek {
        case UInt8(ascii: "{"): return object(depth)
        case UInt8(ascii: "["): return array(depth)
        case UInt8(ascii: "\""): return string().map { .string($0) }
        case UInt8(ascii: "n"): return take("null") ? .null : nil
        case UInt8(ascii: "t"): return take("true") ? .bool(true) : nil
        case UInt8(ascii: "f"): return take("false") ? .bool(false) : nil
        default: return number()
        }
    }

    private mutating func object(_ depth: Int) -> PlainJSON? {
        var fields: [(key: [UInt8]?, value: PlainJSON, text: Range<Int>)] = []
        index += 1
        skipSpace()
        if take("}") { return .object([]) }
        repeat {
            skipSpace()
            guard peek == UInt8(ascii: "\""), let key = string() else { return nil }
            skipSpace()
            guard take(":") else { return nil }
            skipSpace()
            let start = index
            guard let value = value(depth + 1) else { return nil }
            fields.append((key, value, start..<index))
            skipSpace()
        } while take(",")
        return take("}") ? .object(fields) : nil
    }

    private mutating func array(_ depth: Int) -> PlainJSON? {
        var values: [PlainJSON] = []
        index += 1
        skipSpace()
        if take("]") { return .array([]) }
        repeat {
            guard let value = value(depth + 1) else { return nil }
            values.append(value)
            skipSpace()
        } while take(",")
        return take("]") ? .array(values) : nil
    }

    /// Nil for no string; nil inside for one that no bytes can hold.
    private mutating func string() -> [UInt8]?? {
        var units: [UInt16] = []
        var plain: [UInt8] = []
        func flush() -> [UInt8]? {
            var bytes: [UInt8] = []
            let isBroken = transcode(
                units.makeIterator(),
                from: UTF16.self,
                to: UTF8.self,
                stoppingOnError: true
            ) { bytes.append($0) }
            units = []
            return isBroken ? nil : bytes
        }
        var isBroken = false
        index += 1
        while let byte = peek, byte != UInt8(ascii: "\"") {
            index += 1
            guard byte >= 0x20 else { return nil }
            guard byte == UInt8(ascii: "\\") else {
                if let bytes = flush() { plain += bytes } else { isBroken = true }
                plain.append(byte)
                continue
            }
            guard let letter = peek else { return nil }
            index += 1
            if letter == UInt8(ascii: "u") {
                let digits = text[index..<min(index + 4, text.count)]
                guard digits.count == 4,
                    digits.allSatisfy({ Character(Unicode.Scalar($0)).isHexDigit && $0 < 128 }),
                    let unit = UInt16(String(decoding: digits, as: UTF8.self), radix: 16)
                else { return nil }
                units.append(unit)
                index += 4
            } else {
                let letters: [UInt8: UInt8] = [
                    0x22: 0x22, 0x5c: 0x5c, 0x2f: 0x2f, 0x62: 8, 0x66: 12, 0x6e: 10, 0x72: 13,
                    0x74: 9,
                ]
                guard let plainByte = letters[letter] else { return nil }
                units.append(UInt16(plainByte))
            }
        }
        guard take("\"") else { return nil }
        if let bytes = flush() { plain += bytes } else { isBroken = true }
        return .some(isBroken ? nil : plain)
    }

    private mutating func number() -> PlainJSON? {
        let rest = String(decoding: text[index...].prefix { isNumberByte($0) }, as: UTF8.self)
        let grammar = /-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?/
        guard let match = rest.wholeMatch(of: grammar) else { return nil }
        index += match.0.utf8.count
        return .number(String(match.0))
    }

    private func isNumberByte(_ byte: UInt8) -> Bool {
        (48...57).contains(byte) || "+-.eE".utf8.contains(byte)
    }

    private var peek: UInt8? { index < text.count ? text[index] : nil }

    private mutating func take(_ word: String) -> Bool {
        guard text[index...].starts(with: word.utf8) else { return false }
        index += word.utf8.count
        return true
    }

    private mutating func skipSpace() {
        while let byte = peek, [0x20, 0x09, 0x0a, 0x0d].contains(byte) { index += 1 }
    }
}
