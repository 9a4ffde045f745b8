import Foundation

/// The house rules that neither the compiler nor the formatter can see.
///
/// Each rule takes files and gives back findings; none of them reads the disk, so that the tests can
/// hand them a sample that breaks the rule.
enum HouseRules {
    /// One place that breaks a rule.
    struct Finding: Equatable, CustomStringConvertible {
        /// What the rule says.
        let rule: String
        /// The file, from the project's root.
        let file: String
        /// The line, counted from 1.
        let line: Int
        /// What to write instead.
        let advice: String

        var description: String { "\(file):\(line): \(rule). \(advice)" }
    }

    /// A file of the project.
    struct File {
        /// Its path from the project's root.
        let path: String
        let text: String

        var name: String { path.split(separator: "/").last.map(String.init) ?? path }
        var isSwift: Bool { path.hasSuffix(".swift") }
        var isDocument: Bool { path.hasSuffix(".md") }

        func isBelow(_ folders: String...) -> Bool {
            folders.contains { path.hasPrefix($0 + "/") }
        }
    }

    static let longestFunction = 70

    /// The one module that may import each system library.
    static let owners = [
        "CLibPQ": "Postgres", "CSQLite": "Ledgers", "CZlib": "Ledgers",
        "CSimdJSON": "ProjectionKit",
    ]

    /// System libraries are met in one place each.
    static func foreignImports(in file: File) -> [Finding] {
        guard file.isSwift else { return [] }
        return numberedLines(of: SwiftText(file.text).code).compactMap { number, line in
            let words = line.split { !$0.isLetter && !$0.isNumber && $0 != "_" }.map(String.init)
            guard let keyword = words.firstIndex(of: "import"),
                let module = words[keyword...].first(where: { owners[$0] != nil }),
                let owner = owners[module], !file.isBelow("Sources/\(owner)")
            else { return nil }
            return Finding(
                rule: "only \(owner) imports \(module)",
                file: file.path,
                line: number,
                advice: "Give \(owner) a package declaration for what is needed, and call that."
            )
        }
    }

    /// A function fits on a screen.
    static func longFunctions(in file: File) -> [Finding] {
        guard file.isSwift, file.isBelow("Sources", "Projections", "migrations") else { return [] }
        return SwiftText(file.text).functions.filter { $0.length > longestFunction }.map {
            Finding(
                rule: "a function has \(longestFunction) lines at most, '\($0.name)' has"
                    + " \($0.length)",
                file: file.path,
                line: $0.line,
                advice: "Leave the branching here and move the work into functions it calls."
            )
        }
    }

    /// A migration says what it changes, how long it locks and how to go back.
    static func migrationsWithoutNote(in files: [File]) -> [Finding] {
        let paths = Set(files.map(\.path))
        return files.compactMap { file in
            guard file.isBelow("migrations"), file.path.hasSuffix(".sql") else { return nil }
            let note = file.path.dropLast(".sql".count) + ".md"
            guard !paths.contains(String(note)) else { return nil }
            return Finding(
                rule: "a migration has a note beside it",
                file: file.path,
                line: 1,
                advice: "Write \(note): what changes, how long it locks, how to go back."
            )
        }
    }

    /// What the compiler is told to believe is proved in words.
    static func unprovedSendable(in file: File) -> [Finding] {
        guard file.isSwift else { return [] }
        let text = SwiftText(file.text)
        let code = SwiftText.lines(of: text.code).map(trimmed)
        let comments = SwiftText.lines(of: text.comments).map(trimmed)
        return code.indices.compactMap { index in
            guard code[index].contains("@unchecked Sendable") else { return nil }
            var above = declarationLine(of: index, in: code) - 1
            while above >= 0, code[above].hasPrefix("@") { above -= 1 }
            guard above < 0 || comments[above].isEmpty || !code[above].isEmpty else { return nil }
            return Finding(
                rule: "@unchecked Sendable has a comment directly above that proves it",
                file: file.path,
                line: index + 1,
                advice: "Write why no two threads can meet in it, or use an actor or a Mutex."
            )
        }
    }

    /// What is to be done is not kept in the source.
    static func unfinishedWork(in file: File) -> [Finding] {
        guard file.isBelow("Sources", "Projections", "migrations") else { return [] }
        return numberedLines(of: Array(file.text.utf8)).compactMap { number, line in
            guard line.contains(/\b(TODO|FIXME)\b/) else { return nil }
            return Finding(
                rule: "no TODO or FIXME",
                file: file.path,
                line: number,
                advice: "Do it, or say in the doc comment what the code does not do."
            )
        }
    }

    /// A file is named after the noun in it.
    static func emptyNames(in files: [File]) -> [Finding] {
        files.compactMap { file in
            let refused = ["Utils", "Utilities", "Helper", "Manager"]
            guard let part = refused.first(where: file.name.contains) else { return nil }
            return Finding(
                rule: "no file is called \(part)",
                file: file.path,
                line: 1,
                advice: "Name it after the one thing that it holds."
            )
        }
    }

    /// Comments and documents stand on their own, without a tracker beside them.
    ///
    /// A link to, or the `owner/name#12` of, somebody else's tracker is a source and stays.
    static func trackerNumbers(in file: File) -> [Finding] {
        numberedLines(of: prose(of: file)).compactMap { number, line in
            let isReference =
                line.contains(/(^|[\s(\[,;:])#[0-9]+($|[\s.,;:)\]!?])/)
                || line.contains(/\b[Ii]ssues?\s+#?[0-9]+\b/)
            guard isReference else { return nil }
            return Finding(
                rule: "comments and documents name no issue by number",
                file: file.path,
                line: number,
                advice: "Say the reason itself in place of the number."
            )
        }
    }

    /// The comments of a file, or all of a document, on the lines where they stand.
    private static func prose(of file: File) -> [UInt8] {
        if file.isDocument { return Array(file.text.utf8) }
        if file.isSwift { return SwiftText(file.text).comments }
        let mark = file.path.hasSuffix(".sql") ? "--" : "#"
        let lines = file.text.split(separator: "\n", omittingEmptySubsequences: false).map {
            let line = trimmed(String($0))
            return line.hasPrefix(mark) ? line.dropFirst(mark.count) : ""
        }
        return Array(lines.joined(separator: "\n").utf8)
    }

    /// The first line of the declaration whose inheritance clause reaches `line`.
    private static func declarationLine(of line: Int, in code: [String]) -> Int {
        let keywords: Set<Substring> = ["class", "struct", "enum", "actor", "extension"]
        return (max(0, line - 8)...line).last { index in
            code[index].split { !$0.isLetter }.contains(where: keywords.contains)
        } ?? line
    }

    private static func numberedLines(of bytes: [UInt8]) -> [(Int, String)] {
        SwiftText.lines(of: bytes).enumerated().map { ($0.offset + 1, $0.element) }
    }

    private static func trimmed(_ line: String) -> String {
        line.trimmingCharacters(in: .whitespaces)
    }
}
