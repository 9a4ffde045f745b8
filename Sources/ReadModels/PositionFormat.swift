package import ProjectionKit

/// How a projector that keeps its position itself writes it down.
///
/// The raw values are those of the setting `format`.
package enum PositionFormat: String, CaseIterable, Sendable {
    /// A whole number: the position's first word. The others are 0.
    case number
    /// Two whole numbers with leading zeros, joined by a colon: the first two words.
    case pair
    /// The position as Reprise writes it.
    case text

    /// What a column holds, as a position.
    ///
    /// - Parameter text: The column's text.
    /// - Returns: The position, all words 0 for the beginning; nil when it is none in this format.
    package func position(from text: String) -> Position? {
        switch self {
        case .number: Self.word(text[...]).map { Position($0) }
        case .pair: Self.pair(text)
        case .text: Position(text)
        }
    }

    /// A position as it stands in a statement.
    ///
    /// - Parameter position: The position; nil for the beginning.
    /// - Returns: A number, a quoted text or NULL; nil when the format cannot hold the position.
    package func literal(of position: Position?) -> String? {
        let words = position?.words ?? (0, 0, 0)
        switch self {
        case .number:
            guard words.1 == 0, words.2 == 0, words.0 <= Self.largest else { return nil }
            return "\(words.0)"
        case .pair:
            guard words.2 == 0, words.1 <= Self.largest else { return nil }
            return "'\(Self.padded(words.0, to: 20)):\(Self.padded(words.1, to: 19))'"
        case .text: return position.map { "'\($0)'" } ?? "NULL"
        }
    }

    /// A condition in SQL that a text is what ``position(from:)`` takes for a position.
    ///
    /// - Parameters:
    ///   - text: An expression of type text; NULL is the beginning.
    ///   - position: The position, one that the format can hold; nil for the beginning.
    /// - Returns: The condition, which is never NULL.
    func condition(that text: String, is position: Position?) -> String {
        let words = position?.words ?? (0, 0, 0)
        let isSame =
            switch self {
            case .number: Self.condition(that: text, is: words.0)
            case .pair:
                [words.0, words.1].enumerated().map { index, word in
                    let part = "pg_catalog.split_part(\(text), ':', \(index + 1))"
                    return Self.condition(that: part, is: word)
                }.joined(separator: " AND ")
            case .text: "\(text) = '\(position ?? Position(0))'"
            }
        return "coalesce(\(isSame), \(position == nil || position == Position(0)))"
    }

    private static func condition(that text: String, is word: UInt64) -> String {
        "pg_catalog.ltrim(\(text), '0') = '\(word == 0 ? "" : "\(word)")'"
    }

    /// What a sequence of PostgreSQL can count to.
    private static let largest = UInt64(Int64.max)

    private static func pair(_ text: String) -> Position? {
        // Emmett starts a processor with a lone zero.
        if text == "0" { return Position(0) }
        let words = text.split(separator: ":", omittingEmptySubsequences: false).map(word)
        guard words.count == 2, let first = words[0], let second = words[1] else { return nil }
        return Position(first, second)
    }

    private static func word(_ text: Substring) -> UInt64? {
        // UInt64 would take a sign as well.
        guard text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else {
            return nil
        }
        return UInt64(text)
    }

    private static func padded(_ word: UInt64, to digits: Int) -> String {
        let text = "\(word)"
        return String(repeating: "0", count: max(0, digits - text.count)) + text
    }
}
