/// Reads the fields of one JSON object after another, without copying them.
///
/// Used by one thread. What it lends points into the text, or into the reader, and is good until
/// the next ``open(_:)``.
package final class JSONObjectReader {
    private let parser = PayloadParser()

    /// A reader with no object.
    package init() {}

    /// Checks a whole document, as ``PayloadParser/complaint(about:)`` does, and indexes its fields.
    ///
    /// - Parameter text: Readable for ``PayloadParser/padding`` bytes past its end.
    /// - Returns: Why it is not a JSON object, as a clause; nil when it is one.
    package func open(_ text: UnsafeRawBufferPointer) -> String? {
        if let complaint = parser.complaint(about: text) {
            return "is not valid JSON (\(complaint))"
        }
        let body = text.drop { $0 == 0x20 || $0 == 0x09 || $0 == 0x0a || $0 == 0x0d }
        guard body.first == UInt8(ascii: "{") else {
            let kind = JSONValue.kind(of: UnsafeRawBufferPointer(rebasing: body))
            return "is \(kind), not an object"
        }
        let serial = parser.makeSerial()
        if parser.open(text, serial: serial) { return nil }
        return "is not valid JSON (\(parser.complaint(aboutOpening: serial) ?? "malformed"))"
    }

    /// The text of a field's value; nil when the field is missing or null.
    package func value(of key: StaticString) -> UnsafeRawBufferPointer? {
        guard let value = parser.value(of: key) else { return nil }
        return JSONValue.isNull(value) ? nil : value
    }

    /// How many fields the open object has; a key that stands twice counts twice.
    package var count: Int { parser.count }

    /// A field of the open object, in the order of the text: its key with escapes resolved, and the
    /// text of its value.
    package func field(
        at index: Int
    ) -> (key: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer) {
        parser.field(at: index)
    }
}
