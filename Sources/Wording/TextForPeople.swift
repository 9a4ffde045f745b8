/// Names and words that came from elsewhere, as a message shows them.
///
/// A stream, a table, a setting or a server must not be able to write lines of its own into a terminal,
/// a log or the bookkeeping, nor to move, hide or turn round what stands there. So what is neither a
/// letter nor another visible sign is escaped. This happens
///
/// - where such a text enters a message of several lines: its own line ends are escaped as well;
/// - where a message leaves, whatever it holds: only the message's line ends stay, and none where it
///   is to be one line.
///
/// An escaped text is escaped no further. JSON is not concerned: it has escapes of its own.
package enum TextForPeople {
    /// The text in quotes, shortened and escaped.
    package static func shown(_ text: some StringProtocol, most: Int = 80) -> String {
        "'\(line(text, most: most))'"
    }

    /// The text in one line, escaped, and shortened where it has more characters than `most`.
    package static func line(_ text: some StringProtocol, most: Int = .max) -> String {
        var line = ""
        for (count, scalar) in text.unicodeScalars.enumerated() {
            guard count < most else { return line + "…" }
            if isVisible(scalar) {
                line.unicodeScalars.append(scalar)
            } else {
                line += "\\u{\(String(scalar.value, radix: 16))}"
            }
        }
        return line
    }

    /// A text whose line ends are ours, escaped.
    package static func lines(_ text: String) -> String {
        // By scalars: CR and LF together are one character.
        text.unicodeScalars.split(separator: "\n", omittingEmptySubsequences: false)
            .map { line(Substring($0)) }.joined(separator: "\n")
    }

    /// A text whose line ends are ours, in one line and escaped.
    package static func oneLine(_ text: String) -> String {
        text.unicodeScalars.split(separator: "\n").map { line in
            let words = line.drop { $0.properties.isWhitespace }
            return self.line(Substring(words))
        }.filter { !$0.isEmpty }.reduce("") { text, line in
            text + (text.isEmpty ? "" : text.hasSuffix(".") ? " " : "; ") + line
        }
    }

    /// What an error says, in one line.
    package static func oneLine(_ error: any Error) -> String { oneLine("\(error)") }

    /// Whether a character shows itself, and nothing else happens.
    package static func isVisible(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .unassigned: false
        default: true
        }
    }

    /// The same of UTF-8 bytes.
    package static func shown(_ text: UnsafeRawBufferPointer, most: Int = 80) -> String {
        shown(String(decoding: text, as: UTF8.self), most: most)
    }

    /// A path or an address, whole and in quotes, escaped like other names.
    package static func path(_ path: String) -> String { shown(path, most: .max) }

    /// A text in which no address has a password, and no `password=` a value.
    ///
    /// Who types an address in a wrong place reads it in the message about that.
    package static func withoutPasswords(_ text: String) -> String {
        text.replacing(/:\/\/[^\s'"@\/:]*:[^\s'"]*@/, with: "://…@")
            .replacing(/(?i)(password=)[^\s'"&]+/, with: { "\($0.output.1)…" })
    }

    /// A path as a word of a command, in any place of it: one that begins with a hyphen would be taken for
    /// an option.
    package static func pathArgument(_ path: String) -> String {
        argument(path.hasPrefix("-") ? "./\(path)" : path)
    }

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
