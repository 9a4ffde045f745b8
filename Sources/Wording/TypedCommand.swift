import Synchronization

/// The command as it was typed, for messages that advise to run it again.
///
/// One is not shown that may hold a password, or has a word that a shell would read otherwise.
package enum TypedCommand {
    private static let known = Mutex<String?>(nil)

    /// Takes the words that follow the program's name.
    package static func take(_ words: [String]) {
        let line = ([ProgramName.current] + words).joined(separator: " ")
        let isPlain = words.allSatisfy { word in
            let word = String(word.drop { $0 == "-" })
            return TextForPeople.argument(word) == word
        }
        let secrets = ["--database", "://", "password"]
        let isShown = isPlain && line.count <= 200 && !secrets.contains { line.contains($0) }
        known.withLock { $0 = isShown ? line : nil }
    }

    /// The command in quotes.
    ///
    /// - Parameter words: What stands for it where it is not shown.
    /// - Returns: One of the two.
    package static func shown(or words: String) -> String {
        known.withLock { $0.map { "'\($0)'" } ?? words }
    }

    /// The command with more words, in quotes.
    ///
    /// - Parameter option: An option and its value.
    /// - Returns: Nil where the command is not shown.
    package static func adding(_ option: String) -> String? {
        known.withLock { $0.map { "'\($0) \(option)'" } }
    }

    /// Whether an option was typed.
    ///
    /// - Parameter option: Its name, with the hyphens.
    /// - Returns: False where the command is not shown.
    package static func has(_ option: String) -> Bool {
        known.withLock { $0.map { " \($0) ".contains(" \(option) ") } ?? false }
    }
}
