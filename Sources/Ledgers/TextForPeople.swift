/// Names that came from elsewhere, as a message shows them.
package enum TextForPeople {
    /// The text in quotes, shortened; control characters, and what would change the direction of
    /// writing, are escaped: a name must not be able to write lines of its own.
    package static func shown(_ text: some StringProtocol, most: Int = 80) -> String {
        var shown = "'"
        for (count, scalar) in text.unicodeScalars.enumerated() {
            guard count < most else { return shown + "…'" }
            switch scalar.properties.generalCategory {
            case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .unassigned:
                shown += "\\u{\(String(scalar.value, radix: 16))}"
            default: shown.unicodeScalars.append(scalar)
            }
        }
        return shown + "'"
    }

    /// The same of UTF-8 bytes.
    package static func shown(_ text: UnsafeRawBufferPointer, most: Int = 80) -> String {
        shown(String(decoding: text, as: UTF8.self), most: most)
    }

    /// A path or an address, whole and in quotes, escaped like other names.
    package static func path(_ path: String) -> String { shown(path, most: .max) }

    /// A word of a command as a shell takes it: in quotes where it has to be.
    package static func argument(_ word: String) -> String {
        // Only `$'…'` can say what must not be printed.
        if path(word) != "'\(word)'" { return escapedArgument(word) }
        let plain = word.utf8.allSatisfy { byte in
            (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte)
                || "/._-+:,=@%".utf8.contains(byte) || byte > 127
        }
        guard !plain || word.isEmpty || word.hasPrefix("-") else { return word }
        // Scalars, not characters: a combining mark after a quote makes one character of the two.
        let scalars = word.unicodeScalars.replacing(
            "'".unicodeScalars,
            with: "'\\''".unicodeScalars
        )
        return "'" + String(scalars) + "'"
    }

    private static func escapedArgument(_ word: String) -> String {
        let bytes = word.utf8.map { byte in
            let isPlain = (32...126).contains(byte) && byte != UInt8(ascii: "'")
            guard !isPlain || byte == UInt8(ascii: "\\") else {
                return String(Unicode.Scalar(byte))
            }
            return "\\x" + (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }
        return "$'" + bytes.joined() + "'"
    }
}
