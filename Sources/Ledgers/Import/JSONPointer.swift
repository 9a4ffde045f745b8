/// A path to a value inside a JSON record (RFC 6901).
struct JSONPointer: Hashable, Sendable {
    /// One step: a key, and the index that it is where the value is an array.
    struct Token: Hashable, Sendable {
        let key: [UInt8]
        let index: Int?

        init(_ text: String) {
            key = Array(text.utf8)
            let isIndex =
                !key.isEmpty && key.allSatisfy { (48...57).contains($0) }
                && (key.count == 1 || key.first != 48)
            index = isIndex ? Int(text) : nil
        }
    }

    let tokens: [Token]

    /// Reads a pointer; nil for anything else.
    ///
    /// `/a/b`, with `~1` for a slash and `~0` for a tilde in a key; an empty text is the whole record.
    init?(_ text: String) {
        guard !text.isEmpty else {
            tokens = []
            return
        }
        // Scalars, not characters: a key that begins with a combining mark makes one of it and the slash.
        guard text.unicodeScalars.first == "/" else { return nil }
        let parts = text.unicodeScalars.dropFirst()
            .split(separator: "/", omittingEmptySubsequences: false)
        var tokens: [Token] = []
        for part in parts {
            guard let key = Self.unescaped(part) else { return nil }
            tokens.append(Token(key))
        }
        self.tokens = tokens
    }

    /// The pointer to a key of the record itself.
    init(key: String) {
        tokens = [Token(key)]
    }

    /// How the key of a record is written as a pointer.
    static func text(forKey key: String) -> String {
        var text = "/"
        for character in key.unicodeScalars {
            switch character {
            case "~": text += "~0"
            case "/": text += "~1"
            default: text.unicodeScalars.append(character)
            }
        }
        return text
    }

    private static func unescaped(_ part: Substring.UnicodeScalarView) -> String? {
        var key = ""
        var scalars = part.makeIterator()
        while let scalar = scalars.next() {
            guard scalar == "~" else {
                key.unicodeScalars.append(scalar)
                continue
            }
            switch scalars.next() {
            case "0": key += "~"
            case "1": key += "/"
            default: return nil
            }
        }
        return key
    }
}
