import Foundation

/// A command that a message, a report or a help text tells people to type.
struct Advice: Hashable, Comparable, CustomStringConvertible {
    /// The file's name, with the case of an error where it is one's.
    let place: String
    /// The command behind the program's name, with `…` for what is put in when it is shown.
    let command: String

    var description: String { "\(place): \(command)" }

    static func < (left: Advice, right: Advice) -> Bool { left.description < right.description }

    /// What stands for the command that was typed, and for that with more words.
    static let again = ["shown": "the command again", "adding": "the command with more words"]

    /// The advice in a file of the sources.
    ///
    /// It begins with `ProgramName.current`, or with a constant of the same file that does.
    static func found(in file: HouseRules.File) -> Set<Advice> {
        guard file.isSwift, file.name != "TypedCommand.swift",
            file.text.contains("ProgramName.current") || file.text.contains("TypedCommand.")
        else { return [] }
        let name = String(file.name.dropLast(".swift".count))
        // Functions and constants as they follow each other; a case counts for the rest of its own.
        var place = name
        var found: Set<Advice> = []
        for line in merged(file.text).split(separator: "\n") {
            let words = line.trimmingPrefix(while: \.isWhitespace)
            if ["func ", "var ", "init("].contains(where: { words.contains($0) }) { place = name }
            if name.hasSuffix("Error"), let word = words.range(of: "case .") {
                place = "\(name).\(words[word.upperBound...].prefix { $0.isLetter })"
            }
            for command in commands(in: words) {
                found.insert(Advice(place: place, command: command))
            }
        }
        return found
    }

    /// The commands in a line.
    private static func commands(in line: Substring) -> [String] {
        let own = line.components(separatedBy: "\\(ProgramName.current) ").dropFirst()
            .map { command(in: Substring($0)) }
        return own
            + again.filter { line.contains("TypedCommand.\($0.key)(") }.map(\.value)
    }

    /// The text without comments, where literals over several lines are in one and constants that
    /// begin with the program's name are put in.
    private static func merged(_ source: String) -> String {
        var text = ""
        for line in source.split(separator: "\n") {
            let words = line.trimmingPrefix(while: \.isWhitespace)
            guard !words.hasPrefix("//") else { continue }
            if words.hasPrefix("+ \""), text.hasSuffix("\"\n") {
                text.removeLast(2)
                text += words.dropFirst(3) + "\n"
            } else if text.hasSuffix("\\\n") {
                text.removeLast(2)
                text += words + "\n"
            } else {
                text += words + "\n"
            }
        }
        for line in text.split(separator: "\n") {
            let parts = line.components(separatedBy: " = \"")
            guard parts.count == 2, parts[0].hasPrefix("let "), parts[1].hasSuffix("\""),
                parts[1].hasPrefix("\\(ProgramName.current)")
            else { continue }
            text = text.replacingOccurrences(of: String(line), with: "")
                .replacingOccurrences(
                    of: "\\(\(parts[0].dropFirst(4)))",
                    with: String(parts[1].dropLast())
                )
        }
        return text
    }

    /// What stands up to the quote or the line's end.
    private static func command(in text: Substring) -> String {
        var command = ""
        var depth = 0
        var rest = text
        while let character = rest.first {
            if rest.hasPrefix("\\(") {
                command += depth == 0 ? "…" : ""
                depth += 1
                rest = rest.dropFirst(2)
                continue
            }
            if depth == 0, "'\"\n".contains(character) { break }
            if depth > 0 {
                depth += character == "(" ? 1 : character == ")" ? -1 : 0
            } else {
                command.append(character)
            }
            rest = rest.dropFirst()
        }
        return command.trimmingCharacters(in: .whitespaces)
    }
}
