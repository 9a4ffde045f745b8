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

    /// Who runs a migration can read what it locks, and how to undo it.
    static func migrationNotesWithoutLocks(in file: File) -> [Finding] {
        guard file.isBelow("migrations"), file.isDocument else { return [] }
        return ["Locks", "The way back"].compactMap { part in
            guard !file.text.contains("\n\(part): "), !file.text.contains("\n**\(part).** ") else {
                return nil
            }
            return Finding(
                rule: "a migration's note has a paragraph '\(part): …'",
                file: file.path,
                line: 1,
                advice: "Say which locks it takes for how long, and how to undo it."
            )
        }
    }

    /// A switch that only tests need is compiled under a condition that releases do not have.
    static func switchesInReleases(in file: File) -> [Finding] {
        guard file.isSwift, file.isBelow("Sources") else { return [] }
        var conditions: [Bool] = []
        return numberedLines(of: Array(file.text.utf8)).compactMap { number, line in
            let line = trimmed(line)
            if line.hasPrefix("#if ") {
                conditions.append(line == "#if DEBUG || REPRISE_STOPS")
            } else if line.hasPrefix("#else"), !conditions.isEmpty {
                conditions[conditions.count - 1] = false
            } else if line.hasPrefix("#endif") {
                _ = conditions.popLast()
            }
            guard line.contains("\"REPRISE_STOP_AT\""), !conditions.contains(true) else {
                return nil
            }
            return Finding(
                rule: "REPRISE_STOP_AT is read under '#if DEBUG || REPRISE_STOPS' alone",
                file: file.path,
                line: number,
                advice: "Put the line under that condition."
            )
        }
    }

    /// The arrows of Package.swift are used: one that nobody needs is a door left open.
    ///
    /// - Parameters:
    ///   - package: Package.swift.
    ///   - files: The project's files.
    /// - Returns: What is listed and not imported.
    static func unusedDependencies(of package: File, in files: [File]) -> [Finding] {
        // A line of code that begins a target, and what stands in the brackets of its dependencies.
        let targets = package.text.matches(
            of:
                /(?s)arget\(\s+name: "(\w+)",\s+dependencies: \[(.*?)\],\s+(?:path: "([^"]+)")?/
        )
        return targets.flatMap { target in
            let name = String(target.1)
            let folder =
                target.3.map(String.init)
                ?? (name.hasSuffix("Tests") ? "Tests/\(name)" : "Sources/\(name)")
            let own = files.filter { $0.isSwift && $0.isBelow(folder) }
            let imported = Set(own.flatMap(imports))
            // Linked for what they do before `main`.
            return target.2.matches(of: /"(\w+)"/).map(\.1)
                .filter { !imported.contains($0) && $0 != "CStandardStreams" }
                .map { missing in
                    Finding(
                        rule: "what a target depends on is imported by it",
                        file: package.path,
                        line: package.text[..<target.range.lowerBound].count { $0 == "\n" } + 1,
                        advice: "Take '\(missing)' out of the dependencies of '\(name)'."
                    )
                }
        }
    }

    /// The modules that a Swift file imports.
    private static func imports(in file: File) -> [Substring] {
        file.text.split(separator: "\n").compactMap { line in
            guard line.first != " ", line.first != "/" else { return nil }
            let words = line.split(separator: " ", maxSplits: 5)
            guard words.dropLast().prefix(3).contains("import") else { return nil }
            return words.last?.split(separator: ".").first
        }
    }

    /// A page leads to what is there.
    ///
    /// - Parameters:
    ///   - file: A page.
    ///   - exists: Whether a path from the project's root is there.
    /// - Returns: The links that lead nowhere.
    static func deadLinks(in file: File, exists: (String) -> Bool) -> [Finding] {
        guard file.isDocument else { return [] }
        let folder = file.path.split(separator: "/").dropLast().map(String.init)
        return numberedLines(of: Array(file.text.utf8)).flatMap { number, line in
            // Looked for first, because a regular expression takes its time.
            guard line.utf8.contains(UInt8(ascii: "]")) else { return [Finding]() }
            return line.matches(of: /\]\(([^)\s#]+)(#[^)\s]*)?\)/).compactMap { link -> Finding? in
                guard !link.1.contains("://") else { return nil }
                var place = folder
                for part in link.1.split(separator: "/") where part != "." {
                    if part == ".." { _ = place.popLast() } else { place.append(String(part)) }
                }
                guard !exists(place.joined(separator: "/")) else { return nil }
                return Finding(
                    rule: "a link leads to a file of the project",
                    file: file.path,
                    line: number,
                    advice: "There is no '\(place.joined(separator: "/"))'."
                )
            }
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
