internal import Glibc
package import ProjectionKit

/// Writes events as lines of NDJSON into a buffer of its own.
///
/// It is the form that `reprise ledger import` takes back to the byte:
///
/// ```json
/// {"id":"7","time":"2026-01-01T00:00:00.000001Z","stream":"s","type":"T","data":{},"metadata":{}}
/// ```
///
/// - `id` and `metadata` are absent where the event has none; the time has six digits.
/// - `data` and `metadata` are the bytes that the ledger holds. One that has a line break between its
///   fields, or white space around it, stands as `data_text` or `metadata_text` instead, its text as a JSON string.
///
/// Used by one thread. Nothing is allocated for an event.
package final class EventLines {
    /// Bytes that are in the buffer.
    package private(set) var count = 0

    private var memory: UnsafeMutableRawPointer
    private var capacity = 1 << 18
    /// `,"type":"…"` by the type's index; empty for one that did not come yet.
    private var types: [[UInt8]] = []
    /// The second whose text `secondText` is; no second is this one.
    private var second = Int64.min
    private var secondText: [UInt8] = []

    /// An empty buffer.
    package init() {
        memory = .allocate(byteCount: capacity, alignment: 16)
    }

    deinit { memory.deallocate() }

    /// What was written since the last time it was emptied.
    package var bytes: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: memory, count: count)
    }

    /// Lines that end in the first bytes of the buffer.
    package func lines(inFirst bytes: Int) -> Int {
        self.bytes.prefix(bytes).count { $0 == UInt8(ascii: "\n") }
    }

    /// Empties the buffer.
    package func removeAll() { count = 0 }

    /// Adds the line of an event.
    ///
    /// - Parameters:
    ///   - event: What to write.
    ///   - position: Put first, as `position`; nil leaves it out.
    ///   - sequence: Put behind that, as `sequence`; nil leaves it out.
    package func append(
        _ event: borrowing Event,
        position: Position? = nil,
        sequence: Int64? = nil
    ) {
        let texts = event.bytes
        put("{")
        if let position {
            put("\"position\":\"\(position)\",")
            if let sequence { put("\"sequence\":\(sequence),") }
        }
        if texts.id.baseAddress != nil {
            put("\"id\":\"")
            putEscaped(texts.id)
            put("\",")
        }
        put("\"time\":\"")
        put(event.time)
        put("\",\"stream\":\"")
        putEscaped(texts.stream)
        put(event.type)
        putJSON(texts.payload, ",\"data\":", ",\"data_text\":\"")
        if texts.metadata.baseAddress != nil {
            putJSON(texts.metadata, ",\"metadata\":", ",\"metadata_text\":\"")
        }
        put("}\n")
    }
}

extension EventLines {
    private func reserve(_ wanted: Int) {
        guard count + wanted > capacity else { return }
        capacity = max(count + wanted, capacity * 2)
        let larger = UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: 16)
        larger.copyMemory(from: memory, byteCount: count)
        memory.deallocate()
        memory = larger
    }

    private func put(_ text: StaticString) {
        let length = text.utf8CodeUnitCount
        reserve(length)
        (memory + count).copyMemory(from: text.utf8Start, byteCount: length)
        count += length
    }

    @_disfavoredOverload
    private func put(_ text: String) {
        var text = text
        text.withUTF8 { put(UnsafeRawBufferPointer($0)) }
    }

    private func put(_ text: UnsafeRawBufferPointer) {
        guard let source = text.baseAddress else { return }
        reserve(text.count)
        (memory + count).copyMemory(from: source, byteCount: text.count)
        count += text.count
    }

    private func put(_ type: EventType) {
        let index = type.index
        if index >= types.count {
            types.append(contentsOf: repeatElement([], count: index + 1 - types.count))
        }
        if types[index].isEmpty {
            let start = count
            put("\",\"type\":\"")
            var name = type.name
            name.withUTF8 { putEscaped(UnsafeRawBufferPointer($0)) }
            put("\"")
            types[index] = Array(bytes[start...])
        } else {
            types[index].withUnsafeBytes { put($0) }
        }
    }

    private func put(_ time: Timestamp) {
        let microseconds = time.microseconds
        // Only a damaged ledger has such a time.
        guard Timestamp.ledgerYears.contains(microseconds) else { return put("\(time)" as String) }
        let fraction = microseconds % 1_000_000
        let ofSecond = fraction < 0 ? fraction + 1_000_000 : fraction
        let second = microseconds / 1_000_000 - (fraction < 0 ? 1 : 0)
        if second != self.second {
            self.second = second
            // Without the milliseconds and the Z.
            let whole = Timestamp(microseconds: second * 1_000_000)
            secondText = Array("\(whole)".utf8.dropLast(4))
        }
        secondText.withUnsafeBytes { put($0) }
        reserve(7)
        var rest = ofSecond
        for place in stride(from: 5, through: 0, by: -1) {
            (memory + count + place).storeBytes(of: UInt8(48 + rest % 10), as: UInt8.self)
            rest /= 10
        }
        count += 6
        put("Z")
    }

    private func putJSON(
        _ text: UnsafeRawBufferPointer,
        _ name: StaticString,
        _ nameOfText: StaticString
    ) {
        // White space around a value is not a part of it, and a line break would end the line.
        guard text.isOneLine, text.first == UInt8(ascii: "{"), text.last == UInt8(ascii: "}") else {
            put(nameOfText)
            putEscaped(text)
            return put("\"")
        }
        put(name)
        put(text)
    }

    /// The inside of a JSON string.
    private func putEscaped(_ text: UnsafeRawBufferPointer) {
        var plain = 0
        for (index, byte) in text.enumerated()
        where byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") {
            put(UnsafeRawBufferPointer(rebasing: text[plain..<index]))
            putEscape(of: byte)
            plain = index + 1
        }
        put(UnsafeRawBufferPointer(rebasing: text[plain...]))
    }

    private func putEscape(of byte: UInt8) {
        switch byte {
        case 0x0a: put("\\n")
        case 0x0d: put("\\r")
        case 0x09: put("\\t")
        case UInt8(ascii: "\""): put("\\\"")
        case UInt8(ascii: "\\"): put("\\\\")
        default:
            put("\\u00")
            let digits: StaticString = "0123456789abcdef"
            reserve(2)
            for digit in [byte >> 4, byte & 15] {
                (memory + count).storeBytes(of: digits.utf8Start[Int(digit)], as: UInt8.self)
                count += 1
            }
        }
    }
}

extension UnsafeRawBufferPointer {
    /// Whether no byte of it is a line feed or a carriage return.
    fileprivate var isOneLine: Bool {
        guard let start = baseAddress else { return true }
        return memchr(start, 0x0a, count) == nil && memchr(start, 0x0d, count) == nil
    }
}
