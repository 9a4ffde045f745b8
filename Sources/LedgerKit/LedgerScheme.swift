/// How ledgers of one kind are opened: what `--ledger` says before the colon, and what is done then.
///
/// ```swift
/// await Reprise.main(
///     projections: [Stock.self],
///     ledgers: [LedgerScheme("events") { try EventsTable(address: $0) }]
/// )
/// ```
///
/// `--ledger events://host/store` is then opened by it.
public struct LedgerScheme: Sendable {
    /// What stands before the colon: letters, digits, `+`, `-` and `.`, in lower case.
    public let name: String

    /// Opens the ledger of an address, which is given whole.
    ///
    /// It may block, and what it throws is what messages then say.
    public let open: @Sendable (_ address: String) throws -> any Ledger

    /// Describes a kind of ledgers.
    public init(_ name: String, open: @escaping @Sendable (_ address: String) throws -> any Ledger)
    {
        self.name = name
        self.open = open
    }

    /// What is wrong with the name, as a sentence; nil when nothing is.
    package var mistake: String? {
        guard Self.scheme(of: name + ":") != name else { return nil }
        return
            "A scheme of ledgers is two letters, digits, '+', '-' and '.' or more, in lower case; "
            + "it is '\(name)'."
    }

    /// What stands before the colon of an address, in lower case; nil for a path.
    package static func scheme(of address: String) -> String? {
        guard let colon = address.firstIndex(of: ":") else { return nil }
        let name = address[..<colon].lowercased()
        let isScheme = name.utf8.allSatisfy { byte in
            (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
                || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
                || [UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: ".")].contains(byte)
        }
        // A letter and a colon is where a file lies elsewhere.
        guard isScheme, name.count > 1, name.first?.isLetter == true else { return nil }
        return name
    }
}
