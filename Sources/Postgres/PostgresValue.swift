/// A parameter of a statement.
///
/// It travels as text and the server decides on its type from the place where it stands, as it does
/// with a quoted constant. Where the place leaves the type open, cast: `$1::bigint`.
package enum PostgresValue: Hashable, Sendable {
    /// SQL's NULL.
    case null
    /// A text, or anything that has a text form.
    case text(String)
    /// A whole number.
    case int(Int64)
    /// A truth value.
    case bool(Bool)
    /// A `bytea`.
    case bytes([UInt8])
    /// A one-dimensional array of texts without NULL, for `= ANY ($1)`.
    case texts([String])
    /// A one-dimensional array of whole numbers without NULL, for `= ANY ($1)`.
    case ints([Int64])
}

extension PostgresValue: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral,
    ExpressibleByBooleanLiteral, ExpressibleByNilLiteral
{
    /// A text.
    package init(stringLiteral value: String) { self = .text(value) }

    /// A whole number.
    package init(integerLiteral value: Int64) { self = .int(value) }

    /// A truth value.
    package init(booleanLiteral value: Bool) { self = .bool(value) }

    /// NULL.
    package init(nilLiteral: ()) { self = .null }
}

extension PostgresValue {
    /// The value in the text form that the server's input functions read; nil for NULL.
    package var wireText: String? {
        switch self {
        case .null: nil
        case .text(let text): text
        case .int(let number): String(number)
        case .bool(let truth): truth ? "t" : "f"
        case .bytes(let bytes): Self.hex(bytes)
        case .texts(let texts): "{" + texts.map(Self.arrayElement).joined(separator: ",") + "}"
        case .ints(let numbers): "{" + numbers.map(String.init).joined(separator: ",") + "}"
        }
    }

    /// Always quoted: the unquoted words NULL, the empty string and leading blanks mean something
    /// else in an array literal (PostgreSQL manual, 8.15.6 Array Input and Output Syntax).
    private static func arrayElement(_ text: String) -> String {
        var element = "\""
        for scalar in text.unicodeScalars {
            if scalar == "\"" || scalar == "\\" { element.unicodeScalars.append("\\") }
            element.unicodeScalars.append(scalar)
        }
        return element + "\""
    }

    private static func hex(_ bytes: [UInt8]) -> String {
        let digits = Array("0123456789abcdef".utf8)
        return String(unsafeUninitializedCapacity: 2 + 2 * bytes.count) { text in
            text[0] = UInt8(ascii: "\\")
            text[1] = UInt8(ascii: "x")
            for (index, byte) in bytes.enumerated() {
                text[2 + 2 * index] = digits[Int(byte >> 4)]
                text[3 + 2 * index] = digits[Int(byte & 15)]
            }
            return 2 + 2 * bytes.count
        }
    }
}
