/// How records stand in a text.
enum RecordForm: Equatable {
    /// NDJSON: one value a line.
    case lines
    /// The elements of one JSON array.
    case array
    /// CSV (RFC 4180): rows, of which the first is the header.
    case rows(delimiter: UInt8)

    /// What one record is called.
    var unit: String { self == .array ? "element" : "line" }
}

/// Where a record lies in the bytes at hand.
struct RecordSpan {
    var text: Range<Int>
    /// Where the next record's bytes begin.
    var next: Int
    /// Whether what ends the record was there, and not only the end of the file.
    var hasEnd = true
}

/// Why records cannot be told from each other any more.
struct RecordSplitError: Error {
    let reason: String
}

/// Finds the ends of records in bytes that come in pieces: each byte is looked at once.
struct RecordSplitter {
    let form: RecordForm
    /// Bytes behind the start of the record that were looked at.
    private var searched = 0
    private var isInString = false
    private var depth = 0
    /// Where the element begins; -1 before it.
    private var begin = -1
    private var array = ArrayPlace.beforeBracket
    private var field = FieldPlace.start

    private enum ArrayPlace {
        case beforeBracket
        case beforeFirst
        case behindElement
        case behindComma
        case closed
    }

    private enum FieldPlace {
        case start
        case plain
        case quoted
        case behindQuote
    }

    init(_ form: RecordForm) {
        self.form = form
    }

    /// Whether the last row ended inside quotes.
    var isInQuotes: Bool { field == .quoted }

    /// Goes on behind an element of an array that was read before.
    mutating func continueBehindElement() { array = .behindElement }

    /// Passes over an array's opening bracket.
    ///
    /// - Returns: Where the elements begin.
    mutating func enterArray(_ bytes: UnsafeRawBufferPointer) -> Int? {
        guard let bracket = bytes.firstIndex(where: { !JSONText.isSpace($0) }) else { return nil }
        array = .beforeFirst
        return bracket + 1
    }

    /// The next record.
    ///
    /// - Parameters:
    ///   - bytes: From the end of the last record on.
    ///   - isAtEnd: Whether no more bytes follow.
    /// - Returns: Nil where more bytes are needed, or where there are none.
    /// - Throws: ``RecordSplitError``.
    mutating func next(
        in bytes: UnsafeRawBufferPointer,
        isAtEnd: Bool
    ) throws(RecordSplitError) -> RecordSpan? {
        switch form {
        case .lines: line(bytes, isAtEnd)
        case .rows(let delimiter): row(bytes, delimiter, isAtEnd)
        case .array: try element(bytes, isAtEnd)
        }
    }

    private mutating func line(_ bytes: UnsafeRawBufferPointer, _ isAtEnd: Bool) -> RecordSpan? {
        guard let newline = Memory.firstIndex(of: 0x0a, in: bytes, from: searched) else {
            searched = bytes.count
            return isAtEnd ? last(bytes) : nil
        }
        return ended(at: newline, bytes)
    }

    private mutating func ended(at newline: Int, _ bytes: UnsafeRawBufferPointer) -> RecordSpan {
        searched = 0
        let end = newline > 0 && bytes[newline - 1] == 0x0d ? newline - 1 : newline
        return RecordSpan(text: 0..<end, next: newline + 1)
    }

    private mutating func last(_ bytes: UnsafeRawBufferPointer) -> RecordSpan? {
        guard !bytes.isEmpty else { return nil }
        searched = 0
        let end = bytes.last == 0x0d ? bytes.count - 1 : bytes.count
        return RecordSpan(text: 0..<end, next: bytes.count, hasEnd: false)
    }

    private mutating func row(
        _ bytes: UnsafeRawBufferPointer,
        _ delimiter: UInt8,
        _ isAtEnd: Bool
    ) -> RecordSpan? {
        let quote = UInt8(ascii: "\"")
        var index = searched
        while index < bytes.count {
            let byte = bytes[index]
            if field == .quoted {
                guard let end = Memory.firstIndex(of: quote, in: bytes, from: index) else { break }
                field = .behindQuote
                index = end + 1
                continue
            }
            if byte == 0x0a {
                field = .start
                return ended(at: index, bytes)
            }
            if byte == delimiter {
                field = .start
            } else if byte == quote, field != .plain {
                field = .quoted
            } else {
                field = .plain
            }
            index += 1
        }
        searched = bytes.count
        guard isAtEnd else { return nil }
        defer { if field != .quoted { field = .start } }
        return last(bytes)
    }

    private mutating func element(
        _ bytes: UnsafeRawBufferPointer,
        _ isAtEnd: Bool
    ) throws(RecordSplitError) -> RecordSpan? {
        var index = searched
        while index < bytes.count {
            if begin >= 0 {
                guard let end = endOfElement(bytes, &index) else { break }
                return found(end)
            }
            let byte = bytes[index]
            if !JSONText.isSpace(byte), !(try step(byte)) {
                begin = index
                continue
            }
            index += 1
        }
        searched = index
        guard isAtEnd else { return nil }
        if array == .closed { return nil }
        throw RecordSplitError(
            reason: begin >= 0
                ? "the file ends inside this element"
                : "the array has no closing bracket: the file is cut off"
        )
    }

    private mutating func found(_ end: Int) -> RecordSpan {
        let span = RecordSpan(text: begin..<end, next: end)
        begin = -1
        searched = 0
        depth = 0
        array = .behindElement
        return span
    }

    /// Takes a character between elements.
    ///
    /// - Returns: False where an element begins with it.
    private mutating func step(_ byte: UInt8) throws(RecordSplitError) -> Bool {
        switch (array, byte) {
        case (.closed, _):
            throw RecordSplitError(reason: "something else follows the end of the array")
        case (.behindElement, UInt8(ascii: ",")): array = .behindComma
        case (.behindElement, UInt8(ascii: "]")), (.beforeFirst, UInt8(ascii: "]")): array = .closed
        case (.behindElement, _):
            throw RecordSplitError(reason: "there is no comma between two elements of the array")
        case (_, UInt8(ascii: ",")), (_, UInt8(ascii: "]")):
            throw RecordSplitError(
                reason: "an element of the array is missing before '\(Unicode.Scalar(byte))'"
            )
        default: return false
        }
        return true
    }

    /// Looks for the end of the element that has begun; nil where it is not there yet.
    private mutating func endOfElement(_ bytes: UnsafeRawBufferPointer, _ index: inout Int) -> Int?
    {
        while index < bytes.count {
            let byte = bytes[index]
            if isInString {
                if byte == UInt8(ascii: "\\") {
                    guard index + 1 < bytes.count else { break }
                    index += 2
                    continue
                }
                index += 1
                if byte == UInt8(ascii: "\"") {
                    isInString = false
                    if depth == 0 { return index }
                }
                continue
            }
            switch byte {
            case UInt8(ascii: "\""): isInString = true
            case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                guard depth > 0 else { return index }
                depth -= 1
                if depth == 0 { return index + 1 }
            case UInt8(ascii: ","): if depth == 0 { return index }
            default: if depth == 0, JSONText.isSpace(byte) { return index }
            }
            index += 1
        }
        // A backslash at the end of the piece is looked at again with what it escapes.
        return nil
    }
}
