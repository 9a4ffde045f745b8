internal import CSimdJSON
internal import Glibc

/// simdjson's parser for one thread, and the index of the object or array it looked at last.
///
/// Not shared between threads: whoever drains a batch uses that batch's parser.
package final class PayloadParser {
    /// Bytes past the end of a text that the parser may look at, and that must be readable.
    package static let padding = csj_padding()

    /// How many fields or elements the open text has.
    private(set) var count = 0

    private let handle: OpaquePointer
    private var fields: UnsafePointer<csj_field>?
    private var openSerial: UInt64 = 0
    private var lastSerial: UInt64 = 0
    private var nested: PayloadParser?

    /// A parser with no text.
    package init() {
        guard let handle = csj_parser_create() else {
            preconditionFailure("no memory for a JSON parser")
        }
        self.handle = handle
    }

    deinit { csj_parser_destroy(handle) }

    /// Checks a whole document: structure, UTF-8, escapes, numbers, and no `\u0000` in a string.
    ///
    /// - Parameter text: Readable for ``padding`` bytes past its end.
    /// - Returns: What is wrong, or nil.
    package func complaint(about text: UnsafeRawBufferPointer) -> String? {
        let code = csj_validate(
            handle,
            text.baseAddress?.assumingMemoryBound(to: UInt8.self),
            text.count
        )
        return code == 0 ? nil : String(cString: csj_error_message(code))
    }

    /// The parser for values inside the ones this parser reads.
    var forNested: PayloadParser {
        if let nested { return nested }
        let parser = PayloadParser()
        nested = parser
        return parser
    }

    /// A number that tells one text from the next, even when both stand at the same address.
    func makeSerial() -> UInt64 {
        lastSerial += 1
        return lastSerial
    }

    /// Indexes the text unless it is the one already open.
    ///
    /// - Parameters:
    ///   - text: Readable for ``padding`` bytes past its end.
    ///   - serial: The number that ``makeSerial()`` gave it.
    ///   - opening: `{` where an object is wanted, `[` where an array is.
    /// - Returns: What is wrong, or nil.
    func open(
        _ text: UnsafeRawBufferPointer,
        serial: UInt64,
        opening: Unicode.Scalar = "{"
    ) -> String? {
        if serial == openSerial { return nil }
        openSerial = 0
        // White space before it is rare; the parser says what is wrong with an empty text.
        let first = text.first { $0 > UInt8(ascii: " ") } ?? UInt8(ascii: opening)
        guard first == UInt8(ascii: opening) else { return "it does not begin with '\(opening)'" }
        var found: UnsafePointer<csj_field>?
        var foundCount = 0
        let code = csj_index(
            handle,
            text.baseAddress?.assumingMemoryBound(to: UInt8.self),
            text.count,
            &found,
            &foundCount
        )
        fields = found
        count = foundCount
        guard code == 0 else { return String(cString: csj_error_message(code)) }
        openSerial = serial
        return nil
    }

    /// The value of a key of the open object; nil when it is not there.
    ///
    /// The last one wins when a key stands twice, as in PostgreSQL's `jsonb`.
    func value(of key: UnsafeBufferPointer<UInt8>) -> UnsafeRawBufferPointer? {
        guard let fields, let wanted = key.baseAddress else { return nil }
        var index = count
        while index > 0 {
            index -= 1
            let field = fields[index]
            guard field.key_length == key.count, let found = field.key,
                memcmp(found, wanted, key.count) == 0
            else { continue }
            return UnsafeRawBufferPointer(start: field.value, count: field.value_length)
        }
        return nil
    }

    /// The value at an index of the open array.
    func element(at index: Int) -> UnsafeRawBufferPointer {
        guard let fields, index < count else {
            preconditionFailure("element \(index) of \(count)")
        }
        return UnsafeRawBufferPointer(start: fields[index].value, count: fields[index].value_length)
    }
}
