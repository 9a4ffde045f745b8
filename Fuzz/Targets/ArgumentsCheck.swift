import ArgumentParser
import LedgerKit
import ProjectionKit
import Wording

@testable import Ledgers
@testable import RepriseCommand

/// What stands on a command line: addresses, widths, times, fields and words for people.
enum ArgumentsCheck {
    static func run(_ input: [UInt8]) throws {
        let text = String(decoding: input, as: UTF8.self)
        // No argument of a process holds a zero byte.
        guard !text.utf8.contains(0) else { return }
        try address(text)
        try width(text)
        try time(text)
        try pointer(text)
        _ = Spelling.nearest(to: text, among: ["database", "ledger", "projections.shop.ledger"])
        _ = TextForPeople.shown(text)
        try argument(text)
    }

    private static func address(_ text: String) throws {
        let address = LedgerAddress(text)
        if let path = address.path {
            try require(!path.utf8.contains(0), "a path holds no zero byte")
            try require(try address.writablePath() == path, "an embedded ledger is written there")
        } else {
            try require(LedgerScheme.scheme(of: text) != nil, "another kind has a scheme")
        }
    }

    private static func width(_ text: String) throws {
        guard let width = BucketWidth(argument: text) else { return }
        try require((1...86_400_000).contains(width.milliseconds), "a width is at most a day")
        guard width.milliseconds % 1_000 == 0 else { return }
        let again = BucketWidth(argument: width.defaultValueDescription)
        try require(again?.milliseconds == width.milliseconds, "what is printed is read")
    }

    private static func time(_ text: String) throws {
        let argument = try? TimeArgument(text)
        try require(argument?.time == Timestamp(text), "a time is an RFC 3339 time")
        try require((try? timestamp(text)) == argument?.time, "all commands read it alike")
    }

    private static func pointer(_ text: String) throws {
        let pointer = JSONPointer(JSONPointer.text(forKey: text))
        try require(pointer == JSONPointer(key: text), "a key's pointer leads to the key")
        if let found = JSONPointer(text) {
            let keys = found.tokens.map { String(decoding: $0.key, as: UTF8.self) }
            let written = keys.map { JSONPointer.text(forKey: $0) }.joined()
            try require(
                Array(written.utf8) == Array(text.utf8),
                "a pointer is written as it was read"
            )
        }
        var fields = ImportFields()
        if fields.add(text) == nil {
            try require(fields.add(text) != nil, "a field is given once")
        }
    }

    /// The shell reads the same text.
    private static func argument(_ text: String) throws {
        let shown = Array(TextForPeople.argument(text).unicodeScalars)
        guard shown.first == "'" else { return }
        var isQuoted = false
        var read = String.UnicodeScalarView()
        var index = 0
        while index < shown.count {
            let scalar = shown[index]
            index += 1
            if scalar == "'" {
                isQuoted.toggle()
            } else if scalar == "\\", !isQuoted, index < shown.count {
                read.append(shown[index])
                index += 1
            } else {
                read.append(scalar)
            }
        }
        try require(!isQuoted, "a quote is closed")
        try require(Array(String(read).utf8) == Array(text.utf8), "the shell reads the same text")
    }
}
