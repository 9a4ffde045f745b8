/// Text that is safe inside a statement, for the places where a parameter cannot stand.
package enum SQLText {
    /// An identifier, always quoted, whatever the name holds.
    ///
    /// - Parameter name: The name as the catalogue stores it. A NUL character in it is a
    ///   programmer error: no name in PostgreSQL can hold one.
    /// - Returns: The name in double quotes, quotes inside it doubled.
    package static func identifier(_ name: String) -> String {
        precondition(!name.utf8.contains(0), "An SQL identifier cannot hold a NUL character.")
        return "\"" + doubling("\"", in: name) + "\""
    }

    /// A string constant that means the same with every setting of `standard_conforming_strings`.
    ///
    /// - Parameter value: The text. A NUL character in it is a programmer error.
    /// - Returns: The text in single quotes, as `quote_literal` writes it: with an `E` in front and
    ///   backslashes doubled when it holds a backslash.
    package static func literal(_ value: String) -> String {
        precondition(!value.utf8.contains(0), "An SQL string cannot hold a NUL character.")
        let quoted = "'" + doubling("'", in: value) + "'"
        guard value.utf8.contains(UInt8(ascii: "\\")) else { return quoted }
        return "E" + doubling("\\", in: quoted)
    }

    /// The words a statement starts with, short enough for a message and free of constants.
    ///
    /// - Parameter sql: A statement.
    /// - Returns: The words and names up to the first sign that could begin a value, at most 60
    ///   characters of them; "a statement" when there is none.
    static func opening(of sql: String) -> String {
        let words = sql.drop(while: \.isWhitespace).prefix(while: startsNoValue)
        let text = words.prefix(60).split(whereSeparator: \.isWhitespace).joined(separator: " ")
        return text.isEmpty ? "a statement" : text
    }

    private static func startsNoValue(_ character: Character) -> Bool {
        if character.isLetter || character.isWhitespace { return true }
        return "_\".".contains(character)
    }

    private static func doubling(_ mark: Character, in text: String) -> String {
        var doubled = ""
        doubled.reserveCapacity(text.utf8.count + 2)
        // Scalars, not characters: a combining mark after a quote makes one character of the two,
        // and the quote would slip through alone.
        for scalar in text.unicodeScalars {
            doubled.unicodeScalars.append(scalar)
            if scalar == mark.unicodeScalars.first { doubled.unicodeScalars.append(scalar) }
        }
        return doubled
    }
}
