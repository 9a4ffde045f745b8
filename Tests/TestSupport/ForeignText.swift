/// Texts that others named, and what must not come of them.
///
/// What is harmless is written down here once more, by code points, and not taken from the product.
package enum ForeignText {
    /// What such a text tries to have printed on a line of its own.
    package static let forged = "shop: generation 9 is live."

    /// A name that ends the line, forges one, and turns, hides or erases what stands around it; at
    /// most 63 bytes for a word of 12, as PostgreSQL's names are.
    package static func name(_ word: String) -> String {
        "\(word)\n\(forged)\u{1B}[2K\u{202E}\u{2028}\u{9B}\t"
    }

    /// A random text of such characters and of letters.
    package static func random(using random: inout SeededRandom) -> String {
        let signs: [Unicode.Scalar] = [
            "\n", "\r", "\t", "\0", "\u{1B}", "\u{7F}", "\u{85}", "\u{9B}", "\u{2028}", "\u{2029}",
            "\u{200B}", "\u{200D}", "\u{200E}", "\u{2060}", "\u{FEFF}", "\u{202A}", "\u{202B}",
            "\u{202C}", "\u{202D}", "\u{202E}", "\u{2066}", "\u{2067}", "\u{2068}", "\u{2069}", "a",
            " ",
            "é", "Ω", "漢", "٣", "e\u{301}".unicodeScalars.last ?? "e", "😀", "'", "\"", "\\",
        ]
        let length = Int.random(in: 1...30, using: &random)
        let text = (0..<length).map { _ in signs.randomElement(using: &random) ?? "a" }
        return String(String.UnicodeScalarView(text)) + "\n" + forged
    }

    /// Looks for what a foreign text has done to an output.
    ///
    /// - Parameter output: What was printed, logged or stored.
    /// - Returns: What is wrong, as clauses; none when it is harmless.
    package static func harm(in output: String) -> [String] {
        var harm = Set<String>()
        for scalar in output.unicodeScalars where scalar != "\n" && isInvisible(scalar.value) {
            harm.insert("it holds U+\(String(scalar.value, radix: 16, uppercase: true)) as it is")
        }
        for line in output.unicodeScalars.split(separator: "\n") {
            let text = String(Substring(line.drop { $0 == " " || $0 == "-" }))
            if text.hasPrefix(forged) { harm.insert("a line was forged") }
        }
        return harm.sorted()
    }

    private static func isInvisible(_ value: UInt32) -> Bool {
        switch value {
        case 0...0x1F, 0x7F...0x9F, 0x200B...0x200F, 0x2028...0x202E, 0x2060...0x2069, 0xFEFF: true
        default: false
        }
    }
}
