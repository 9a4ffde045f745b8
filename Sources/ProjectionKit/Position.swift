/// An event's place in its ledger's total order.
///
/// Opaque: only the ledger knows what the words mean. Positions of one ledger compare; those of
/// two ledgers do not.
public struct Position: Hashable, Comparable, Sendable {
    /// The words, most significant first.
    ///
    /// A ledger that needs fewer leaves the rest 0.
    public let words: (UInt64, UInt64, UInt64)

    /// Makes a position of up to three words, most significant first.
    @inlinable
    public init(_ first: UInt64, _ second: UInt64 = 0, _ third: UInt64 = 0) {
        words = (first, second, third)
    }

    /// Whether the two are the same place.
    @inlinable
    public static func == (left: Position, right: Position) -> Bool { left.words == right.words }

    /// Whether `left` stands before `right`.
    @inlinable
    public static func < (left: Position, right: Position) -> Bool { left.words < right.words }

    /// Feeds the words to the hasher.
    public func hash(into hasher: inout Hasher) {
        hasher.combine(words.0)
        hasher.combine(words.1)
        hasher.combine(words.2)
    }
}

extension Position: LosslessStringConvertible {
    /// The words as 16 hexadecimal digits each, joined by `-`: texts compare as positions do under
    /// byte order (`COLLATE "C"`), so a projector in any language can compare them.
    public var description: String {
        [words.0, words.1, words.2].map(Position.digits).joined(separator: "-")
    }

    /// Reads what ``description`` writes; nil for anything else.
    public init?(_ description: String) {
        let parts = description.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count == 3, parts.allSatisfy({ $0.utf8.count == 16 }) else { return nil }
        let words = parts.compactMap { UInt64($0, radix: 16) }
        guard words.count == 3 else { return nil }
        self.init(words[0], words[1], words[2])
        guard self.description == description else { return nil }
    }

    private static func digits(_ word: UInt64) -> String {
        let text = String(word, radix: 16)
        return String(repeating: "0", count: 16 - text.utf8.count) + text
    }
}
