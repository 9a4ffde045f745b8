internal import Foundation
package import LedgerKit

/// What `--ledger` names: a path, or a URL whose scheme says which kind of ledger it is.
package struct LedgerAddress: Equatable, Sendable {
    /// As it was given.
    package let text: String

    /// Takes what was given.
    package init(_ text: String) {
        self.text = text
    }

    /// The path of an embedded ledger; nil for an address of another kind.
    package var path: String? {
        switch LedgerScheme.scheme(of: text) {
        case nil: text
        case "sqlite", "file":
            // `sqlite:shop.db`, `file:///var/lib/shop.db`, `sqlite://localhost/shop.db`.
            Self.path(ofURL: text)
        default: nil
        }
    }

    /// Opens the ledger.
    ///
    /// - Parameter schemes: Kinds of ledgers besides the embedded one.
    /// - Returns: The ledger.
    /// - Throws: ``LedgerError``; what a scheme throws.
    package func open(_ schemes: [LedgerScheme]) throws -> any Ledger {
        if let path { return try SQLiteLedger(path: path) }
        let name = LedgerScheme.scheme(of: text) ?? ""
        guard let scheme = schemes.first(where: { $0.name == name }) else {
            throw LedgerError.unknownScheme(name, known: ["sqlite"] + schemes.map(\.name))
        }
        return try SchemeLedger(text, by: scheme)
    }

    /// The path, for a command that writes.
    ///
    /// - Throws: ``LedgerError`` for an address of another kind.
    package func writablePath() throws -> String {
        if let path { return path }
        throw LedgerError.readOnlyKind(LedgerScheme.scheme(of: text) ?? "")
    }

    private static func path(ofURL text: String) -> String {
        var rest = text[text.index(after: text.firstIndex(of: ":") ?? text.startIndex)...]
        if rest.hasPrefix("//") {
            rest = rest.dropFirst(2)
            if rest.hasPrefix("localhost/") { rest = rest.dropFirst("localhost".count) }
        }
        // A path with a zero byte would name the file that is called by what stands before it.
        guard let path = String(rest).removingPercentEncoding, !path.utf8.contains(0) else {
            return String(rest)
        }
        return path
    }
}
