internal import CSimdJSON
internal import Glibc

/// simdjson's parser for one thread, and the index of the object or array it looked at last.
///
/// Not shared between threads: whoever drains a batch uses that batch's parser.
package final class PayloadParser {
    /// Bytes past the end of a text that the parser may look at, and that must be readable.
    package static let padding = csj_padding()

    /// How many fields or elements the open text has.
    @exclusivity(unchecked) private(set) var count = 0

    private let handle: OpaquePointer
    // Enforcing exclusivity for each property of a class that one thread uses took 3 % of a fold.
    @exclusivity(unchecked) private var fields: UnsafePointer<csj_field>?
    @exclusivity(unchecked) private var openSerial: UInt64 = 0
    @exclusivity(unchecked) private var lastSerial: UInt64 = 0
    private var refusal: (serial: UInt64, reason: String)?
    private var nested: PayloadParser?
    private var metadata: PayloadParser?

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

    /// The parser for the metadata of events whose payloads this parser reads, so that a reducer may
    /// look into both by turns.
    var forMetadata: PayloadParser {
        if let metadata { return metadata }
        let parser = PayloadParser()
        metadata = parser
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
    /// - Returns: Whether it is open; ``complaint(aboutOpening:)`` says why it is not.
    @inline(__always)
    func open(
        _ text: UnsafeRawBufferPointer,
        serial: UInt64,
        opening: UInt8 = UInt8(ascii: "{")
    ) -> Bool {
        serial == openSerial || index(text, serial: serial, opening: opening)
    }

    private func index(
        _ text: UnsafeRawBufferPointer,
        serial: UInt64,
        opening: UInt8
    ) -> Bool {
        openSerial = 0
        guard begins(text, with: opening) else {
            return refuse(serial, "it does not begin with '\(Unicode.Scalar(opening))'")
        }
        let code = csj_index(
            handle,
            text.baseAddress?.assumingMemoryBound(to: UInt8.self),
            text.count,
            &fields,
            &count
        )
        guard code == 0 else { return refuse(serial, String(cString: csj_error_message(code))) }
        openSerial = serial
        return true
    }

    /// Why a text is not open; nil when it is, or when another was opened since.
    func complaint(aboutOpening serial: UInt64) -> String? {
        refusal?.serial == serial ? refusal?.reason : nil
    }

    private func refuse(_ serial: UInt64, _ reason: String) -> Bool {
        count = 0
        refusal = (serial, reason)
        return false
    }

    /// White space before it is rare; the parser says what is wrong with an empty text.
    private func begins(_ text: UnsafeRawBufferPointer, with opening: UInt8) -> Bool {
        if text.first == opening { return true }
        return text.first { $0 > UInt8(ascii: " ") } ?? opening == opening
    }

    /// The value of a key of the open object; nil when it is not there.
    ///
    /// The last one wins when a key stands twice, as in PostgreSQL's `jsonb`.
    func value(of key: StaticString) -> UnsafeRawBufferPointer? {
        // A key of one character can be kept without an address.
        guard key.hasPointerRepresentation else {
            return key.withUTF8Buffer { value(of: $0.baseAddress, $0.count) }
        }
        return value(of: key.utf8Start, key.utf8CodeUnitCount)
    }

    @inline(__always)
    private func value(of key: UnsafePointer<UInt8>?, _ length: Int) -> UnsafeRawBufferPointer? {
        guard let fields, let key else { return nil }
        // The empty key has no first letter.
        let first = length > 0 ? key.pointee : 0
        var field = fields + count
        while field > fields {
            field -= 1
            // Most keys of the same length begin with another letter, and need no call to tell.
            guard field.pointee.key_length == length, let found = field.pointee.key,
                length == 0 || (found.pointee == first && memcmp(found, key, length) == 0)
            else { continue }
            return UnsafeRawBufferPointer(
                start: field.pointee.value,
                count: field.pointee.value_length
            )
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

    /// The key and the value at an index of the open object.
    func field(at index: Int) -> (key: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer) {
        guard let fields, index < count else {
            preconditionFailure("field \(index) of \(count)")
        }
        let field = fields[index]
        return (
            UnsafeRawBufferPointer(start: field.key, count: field.key_length),
            UnsafeRawBufferPointer(start: field.value, count: field.value_length)
        )
    }
}
