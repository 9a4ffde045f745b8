@testable import Postgres

/// Connection strings, and messages without their passwords.
enum ConnectionsCheck {
    /// A connection string, the name of a database and a password, with zero bytes between them.
    static func run(_ input: [UInt8]) throws {
        let texts = input.texts(3)
        let (conninfo, name, password) = (texts[0], texts[1], texts[2])
        guard !password.utf8.contains(0) else { return }
        let settings = ConnectionSettings(conninfo: conninfo)
        _ = settings.summary
        _ = settings.redacting(name)
        do {
            _ = try settings.parameters()
            let there = try settings.withDatabase(name.isEmpty ? "shop" : name)
            do {
                let again = try there.withDatabase(name.isEmpty ? "shop" : name)
                try require(
                    Array(again.conninfo.utf8) == Array(there.conninfo.utf8),
                    "what was written is read alike"
                )
            } catch is ConnectionError {
                throw FuzzFailure(description: "what was written is read")
            }
        } catch is ConnectionError {}
        try check(password: password)
    }

    /// A message holds no password, whatever stands beside it.
    private static func check(password: String) throws {
        guard !password.isEmpty, !password.contains("…") else { return }
        var quoted = String.UnicodeScalarView("password='".unicodeScalars)
        for scalar in password.unicodeScalars {
            if scalar == "'" || scalar == "\\" { quoted.append("\\") }
            quoted.append(scalar)
        }
        let settings = ConnectionSettings(conninfo: String(quoted) + "'")
        let message = settings.redacting("a\(password)\u{301}b")
        try require(
            message.utf8.firstRange(of: password.utf8) == nil,
            "a message is without the password"
        )
    }
}
