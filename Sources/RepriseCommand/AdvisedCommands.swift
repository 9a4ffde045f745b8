internal import ArgumentParser
internal import Wording

/// Completes the commands that texts of ours advise by what was typed and is needed again: where the
/// ledger and the database are, and what was consented to.
///
/// What writes the text knows what helps, and not how its own command was typed.
enum AdvisedCommands {
    /// An option that was typed.
    private struct Carried {
        let name: String
        /// What else says something about the same: an option already there is not added again.
        let names: Set<String>
        let value: String?
        let isForAll: Bool

        /// As the parser takes it.
        var words: [String] { [name] + (value.map { [$0] } ?? []) }
        /// As a shell takes it.
        var text: String { name + (value.map { " " + TextForPeople.argument($0) } ?? "") }
    }

    /// Options with a value that say where something is, or what may be done to it, whatever the command.
    private static let valuesForAll: Set<String> = [
        "--config", "--database", "--schema", "--ledger", "--strategy", "--incoming-foreign-keys",
    ]
    private static let flagsForAll: Set<String> = [
        "--without-ledger", "--republish", "--no-republish", "--allow-loss", "--no-allow-loss",
        "--adopt", "--no-adopt",
    ]
    /// What one command is allowed: it says nothing about another one.
    private static let values: Set<String> = ["--max-shrink", "--late-events"]
    private static let flags: Set<String> = [
        "--other-ledger", "--other-program", "--allow-older", "--allow-empty",
    ]

    /// - Parameters:
    ///   - text: A text for people: a command stands in quotes, or behind "Next…:" to the line's end.
    ///   - typed: The words behind the program's name.
    /// - Returns: The text with commands that can be typed as they stand. What holds an address, and so
    ///   perhaps a password, is named by a word in capitals.
    static func complete(
        _ text: String,
        typed: [String] = Array(CommandLine.arguments.dropFirst())
    ) -> String {
        let options = carried(typed)
        guard !options.isEmpty else { return text }
        return text.split(separator: "\n", omittingEmptySubsequences: false)
            .map { completing(line: $0, by: options, after: typed.first) }
            .joined(separator: "\n")
    }

    private static func carried(_ typed: [String]) -> [Carried] {
        var options: [Carried] = []
        var words = typed[...]
        while let word = words.popFirst(), word != "--" {
            let parts = word.split(separator: "=", maxSplits: 1).map(String.init)
            guard let name = parts.first else { continue }
            let isForAll = valuesForAll.contains(name) || flagsForAll.contains(name)
            if valuesForAll.contains(name) || values.contains(name) {
                guard let value = parts.count > 1 ? parts[1] : words.popFirst() else { break }
                options.append(
                    Carried(
                        name: name,
                        names: [name],
                        value: shown(value, of: name),
                        isForAll: isForAll
                    )
                )
            } else if flagsForAll.contains(name) || flags.contains(name) {
                let plain = name.replacing("--no-", with: "--")
                options.append(
                    Carried(
                        name: name,
                        names: [plain, plain.replacing("--", with: "--no-")],
                        value: nil,
                        isForAll: isForAll
                    )
                )
            }
        }
        return options
    }

    private static func shown(_ value: String, of option: String) -> String {
        option == "--database" || value.contains("://")
            ? option.dropFirst(2).uppercased() : value
    }

    private static func completing(
        line: Substring,
        by options: [Carried],
        after typed: String?
    ) -> String {
        let start = ProgramName.current + " "
        if line.hasPrefix("Next"), let next = line.firstRange(of: ": \(start)") {
            let head = line[..<line.index(next.lowerBound, offsetBy: 2)]
            return head + completing(command: line[head.endIndex...], by: options, after: typed)
        }
        var done = ""
        var rest = line
        while let next = rest.firstRange(of: "'\(start)") {
            let begin = rest.index(after: next.lowerBound)
            guard let end = endOfQuotation(rest[begin...]) else { break }
            done += rest[..<begin]
            done += completing(command: rest[begin..<end], by: options, after: typed)
            rest = rest[end...]
        }
        return done + rest
    }

    /// A quotation mark behind a space begins a word of the command that has to be quoted itself.
    private static func endOfQuotation(_ text: Substring) -> Substring.Index? {
        var isInside = false
        var last: Character = " "
        for index in text.indices {
            let character = text[index]
            if character == "'" {
                if isInside {
                    isInside = false
                } else if last == " " || last == "\\" {
                    isInside = true
                } else {
                    return index
                }
            }
            last = character
        }
        return nil
    }

    private static func completing(
        command: Substring,
        by options: [Carried],
        after typed: String?
    ) -> String {
        var words = command.split(separator: " ").dropFirst().map(String.init)
        guard isTaken(words) else { return String(command) }
        let leavesLedger = options.contains {
            ["--other-ledger", "--allow-older"].contains($0.name)
        }
        var text = String(command)
        for option in options where option.isForAll || words.first == typed {
            let isThere = words.contains { word in
                option.names.contains { word == $0 || word.hasPrefix("\($0)=") }
            }
            // The way back from another ledger is not in that one.
            if option.name == "--ledger", words.first == "rollback", leavesLedger { continue }
            guard !isThere, isTaken(words + option.words) else { continue }
            words += option.words
            text += " " + option.text
        }
        return text
    }

    private static func isTaken(_ words: [String]) -> Bool {
        (try? RootCommand.parseAsRoot(words)) != nil
    }
}
