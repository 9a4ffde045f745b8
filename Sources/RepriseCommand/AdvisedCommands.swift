internal import ArgumentParser
internal import Wording

/// Completes the commands that texts of ours advise by what was typed and is needed again: where the
/// ledger and the database are, and what was consented to.
///
/// What writes the text knows what helps, and not how its own command was typed.
struct AdvisedCommands {
    /// An option that was typed.
    private struct Carried {
        let name: String
        let value: String?
        let isForAll: Bool

        /// What says something about the same.
        var names: Set<String> {
            let plain = name.replacing("--no-", with: "--")
            return [name, plain, plain.replacing("--", with: "--no-")]
        }
        /// As the parser takes it.
        var word: String { name + (value.map { "=\($0)" } ?? "") }
        /// As a shell takes it; a value that looks like an option is not taken behind a space.
        var text: String {
            guard let value else { return name }
            return name + (value.hasPrefix("-") ? "=" : " ") + TextForPeople.argument(value)
        }

        func isThere(in words: [String]) -> Bool {
            words.contains { word in names.contains { word == $0 || word.hasPrefix("\($0)=") } }
        }
    }

    /// Options with a value that say where something is, or how a cut-over is to be, whatever the command.
    private static let valuesForAll: Set<String> = [
        "--config", "--database", "--schema", "--ledger", "--strategy", "--incoming-foreign-keys",
        "--postpone-file", "--outage-budget", "--old-snapshots",
    ]
    private static let flagsForAll: Set<String> = [
        "--without-ledger", "--republish", "--no-republish", "--allow-loss", "--no-allow-loss",
        "--adopt", "--no-adopt", "--publish-new-tables", "--no-publish-new-tables",
    ]
    /// What one command may do or takes care of: it says nothing about another one.
    private static let values: Set<String> = [
        "--max-shrink", "--late-events", "--lateness-horizon", "--settle", "--catch-up-limit",
        "--keep", "--jobs", "--fold-copies", "--deadline", "--blockers", "--blockers-after",
    ]
    private static let flags: Set<String> = [
        "--other-ledger", "--other-program", "--allow-older", "--allow-empty", "--no-swap",
        "--check-determinism", "--keep-going",
    ]

    /// The program's name and a space.
    private let start: String
    private let options: [Carried]
    /// What the program was told to do.
    private let verb: String?

    private init(typed: [String], program: String) {
        start = "\(program) "
        options = Self.carried(typed)
        verb = typed.first
    }

    /// - Parameters:
    ///   - text: A text for people: a command stands in quotes, or behind "Next…:" to the line's end.
    ///   - typed: The words behind the program's name.
    ///   - program: Its name, as a shell takes it.
    /// - Returns: The text with commands that can be typed as they stand. What holds an address, and so
    ///   perhaps a password, is named by a word in capitals; an address with a password that stands in
    ///   the text itself loses it.
    static func complete(
        _ text: String,
        typed: [String] = Array(CommandLine.arguments.dropFirst()),
        program: String = ProgramName.current
    ) -> String {
        let commands = AdvisedCommands(typed: typed, program: program)
        return TextForPeople.withoutPasswords(text)
            .split(separator: "\n", omittingEmptySubsequences: false)
            .map(commands.completing(line:))
            .joined(separator: "\n")
    }

    private static func carried(_ typed: [String]) -> [Carried] {
        var options: [Carried] = []
        var words = typed[...]
        while let word = words.popFirst(), word != "--" {
            let parts = word.split(separator: "=", maxSplits: 1).map(String.init)
            guard let name = parts.first else { continue }
            var value: String?
            if valuesForAll.contains(name) || values.contains(name) {
                value = parts.count > 1 ? parts[1] : words.popFirst()
                if value == nil { break }
            } else if !flagsForAll.contains(name) && !flags.contains(name) {
                continue
            }
            let option = Carried(
                name: name,
                value: value.map { shown($0, of: name) },
                isForAll: valuesForAll.contains(name) || flagsForAll.contains(name)
            )
            // Of several the last one counts.
            options.removeAll { $0.names.contains(name) }
            options.append(option)
        }
        return options
    }

    private static func shown(_ value: String, of option: String) -> String {
        option == "--database" || value.contains("://") || value.contains("password=")
            ? option.dropFirst(2).uppercased() : value
    }

    private func completing(line: Substring) -> String {
        if line.hasPrefix("Next"), let next = line.firstRange(of: ": " + start) {
            return line[..<next.upperBound] + completing(words: line[next.upperBound...])
        }
        var done = ""
        var rest = line
        while let next = rest.firstRange(of: "'" + start) {
            let command = rest[next.upperBound...]
            let end = ShellWords(of: command).end
            guard end < command.endIndex else { break }
            done += rest[..<next.upperBound]
            done += completing(words: command[..<end])
            rest = rest[end...]
        }
        return done + rest
    }

    private func completing(words command: Substring) -> String {
        var words = ShellWords(of: command).words
        // A name alone speaks of the command, and is not one.
        let isWhole = words.count > 1 || words == ["status"]
        guard isWhole, !words.contains("--help"), Self.isTaken(words) else {
            return String(command)
        }
        var text = String(command)
        for option in options(of: words) where !option.isThere(in: words) {
            guard Self.isTaken(words + [option.word]) else { continue }
            words.append(option.word)
            text += " " + option.text
        }
        return text
    }

    private func options(of words: [String]) -> [Carried] {
        let leavesLedger = options.contains {
            ["--other-ledger", "--allow-older"].contains($0.name)
        }
        return options.filter { $0.isForAll || words.first == verb }.map { option in
            // The way back from another ledger is not in that one.
            option.name == "--ledger" && words.first == "rollback" && leavesLedger
                ? Carried(name: "--without-ledger", value: nil, isForAll: true) : option
        }
    }

    private static func isTaken(_ words: [String]) -> Bool {
        (try? RootCommand.parseAsRoot(words)) != nil
    }
}
