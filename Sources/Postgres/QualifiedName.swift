/// The name of a relation together with its schema, so that no search path decides what it means.
package struct QualifiedName: Hashable, Sendable, CustomStringConvertible {
    /// The schema, as the catalogue stores it.
    package let schema: String
    /// The name inside the schema, as the catalogue stores it.
    package let name: String

    /// A name in a schema; both without quotes.
    package init(schema: String, name: String) {
        self.schema = schema
        self.name = name
    }

    /// A name as people write it in a statement, such as `public.orders` or `"S 1".orders`; nil when
    /// the text is something else.
    ///
    /// - Parameter sql: Schema and name. What is not quoted is folded to lower case.
    package init?(sql: String) {
        var parts: [String] = []
        var rest = Substring(sql)
        repeat {
            if !parts.isEmpty { rest = rest.dropFirst() }
            guard let part = Self.takeIdentifier(from: &rest) else { return nil }
            parts.append(part)
        } while rest.first == "."
        guard rest.isEmpty, parts.count == 2 else { return nil }
        self.init(schema: parts[0], name: parts[1])
    }

    private static func takeIdentifier(from rest: inout Substring) -> String? {
        guard rest.first == "\"" else {
            let word = rest.prefix { $0.isLetter || $0.isNumber || "_$".contains($0) }
            rest = rest.dropFirst(word.count)
            return word.isEmpty || word.first?.isNumber == true ? nil : word.lowercased()
        }
        var pieces: [Substring] = []
        while rest.first == "\"" {
            let piece = rest.dropFirst().prefix { $0 != "\"" }
            rest = rest.dropFirst(piece.count + 1)
            guard !rest.isEmpty else { return nil }
            rest = rest.dropFirst()
            pieces.append(piece)
        }
        // A quote after a quote is one that belongs to the name.
        let name = pieces.joined(separator: "\"")
        return name.isEmpty || name.utf8.contains(0) ? nil : name
    }

    /// The name as it stands in a statement: both parts quoted, a dot between them.
    package var sql: String {
        SQLText.identifier(schema) + "." + SQLText.identifier(name)
    }

    /// The name for messages, without quotes.
    package var description: String { "\(schema).\(name)" }
}
