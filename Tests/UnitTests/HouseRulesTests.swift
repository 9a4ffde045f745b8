import Foundation
import TestSupport
import Testing

@Suite("House rules")
struct HouseRulesTests {
    typealias File = HouseRules.File

    // MARK: The project keeps them

    @Test("a system library is imported by one module only")
    func foreignImports() throws {
        try expectNone { $0.flatMap(HouseRules.foreignImports) }
    }

    @Test("no function is longer than a screen")
    func longFunctions() throws {
        try expectNone { $0.flatMap(HouseRules.longFunctions) }
    }

    @Test("each migration has its note")
    func migrationNotes() throws {
        try expectNone { HouseRules.migrationsWithoutNote(in: $0) }
    }

    @Test("C14: each migration's note says what it locks, and the way back")
    func migrationLocks() throws {
        try expectNone { $0.flatMap(HouseRules.migrationNotesWithoutLocks) }
    }

    @Test("C14: what Package.swift lets a target import is imported")
    func unusedDependencies() throws {
        try expectNone { files in
            files.filter { $0.path == "Package.swift" }
                .flatMap { HouseRules.unusedDependencies(of: $0, in: files) }
        }
    }

    @Test("C14: the pages' links lead to files that are there")
    func deadLinks() throws {
        try expectNone { $0.flatMap { HouseRules.deadLinks(in: $0, exists: exists) } }
    }

    @Test("C13: a switch for tests is not compiled into releases")
    func switchesInReleases() throws {
        try expectNone { $0.flatMap(HouseRules.switchesInReleases) }
        let path = "Sources/ReadModels/CutOverStep.swift"
        let text = try String(contentsOf: root.appending(path: path), encoding: .utf8)
        #expect(text.contains("\"REPRISE_STOP_AT\""))
    }

    @Test("each @unchecked Sendable is proved in the comment above it")
    func unprovedSendable() throws {
        try expectNone { $0.flatMap(HouseRules.unprovedSendable) }
    }

    @Test("the source holds no unfinished work")
    func unfinishedWork() throws {
        try expectNone { $0.flatMap(HouseRules.unfinishedWork) }
    }

    @Test("no file has a name that says nothing")
    func emptyNames() throws {
        try expectNone { HouseRules.emptyNames(in: $0) }
    }

    @Test("comments and documents need no issue tracker to be understood")
    func trackerNumbers() throws {
        try expectNone { $0.flatMap(HouseRules.trackerNumbers) }
    }

    @Test("the page of hazards is what the tests' names make of it")
    func hazardPage() async throws {
        let made = try await ChildProcess.run(root.appending(path: "scripts/hazard-page").path, [])
        try #require(made.status == 0, "\(made.standardError)")
        let page = try String(contentsOf: root.appending(path: "docs/hazards.md"), encoding: .utf8)
        #expect(page == made.standardOutput, "Run 'make docs'.")
    }

    @Test("the page of majors is what the list of their features makes of it")
    func majorsPage() async throws {
        let made = try await ChildProcess.run(root.appending(path: "scripts/majors-page").path, [])
        try #require(made.status == 0, "\(made.standardError)")
        let page = try String(contentsOf: root.appending(path: "docs/majors.md"), encoding: .utf8)
        #expect(page == made.standardOutput, "Run 'make docs'.")
    }

    @Test("each hazard has its tests on the page, or is listed as one without")
    func hazardsWithoutTest() throws {
        let page = try String(contentsOf: root.appending(path: "docs/hazards.md"), encoding: .utf8)
        let parts = page.split(separator: "## Not yet held by a test")
        try #require(parts.count == 2)
        let listed = parts[0].matches(of: /(?m)^\| ([SXOCMEH]\d+) \|/).map { String($0.1) }
        let missing = parts[1].matches(of: /[SXOCMEH]\d+/).map { String($0.0) }
        let named = try projectFiles().filter(\.isSwift).flatMap { file in
            file.text.matches(of: /@Test\(\s*"((?:[^"\\]|\\.)*)"/).flatMap { name in
                let place = /^[SXOCMEH]\d+(, [SXOCMEH]\d+)*: | \([SXOCMEH]\d+(, [SXOCMEH]\d+)*\)$/
                return name.1.matches(of: place)
                    .flatMap { $0.0.matches(of: /[SXOCMEH]\d+/) }.map { String($0.0) }
            }
        }
        #expect(listed.sorted() == named.sorted())
        let all =
            (1...22).map { "S\($0)" } + (1...13).map { "X\($0)" }
            + (1...12).map { "O\($0)" } + (1...14).map { "C\($0)" } + (1...7).map { "M\($0)" }
            + (1...11).map { "E\($0)" }
            + (1...74).map { ($0 < 10 ? "H0" : "H") + "\($0)" }
        #expect(Set(missing) == Set(all).subtracting(named))
    }

    // MARK: The rules find what breaks them

    @Test(
        "an import of a system library elsewhere is found",
        arguments: [
            "internal import CLibPQ", "import CLibPQ", "@preconcurrency package import CLibPQ",
            "import func CLibPQ.PQfinish",
        ]
    )
    func findsForeignImport(line: String) {
        let text = "// import CLibPQ\nlet text = \"import CLibPQ\"\n\(line)\n"
        #expect(
            HouseRules.foreignImports(in: File(path: "Sources/Rebuilder/Run.swift", text: text))
                .map(\.line) == [3]
        )
        #expect(
            HouseRules.foreignImports(in: File(path: "Sources/Postgres/Run.swift", text: text))
                .isEmpty
        )
    }

    @Test("a function of 71 lines is found, one of 70 is not")
    func findsLongFunction() {
        func source(lines: Int) -> String {
            // The braces in here must not count, and the quote must not swallow the rest.
            let odd = [
                "// }", "/* } /* } */ } */", #"let a = "}\"\(f("}"))""#, ##"let b = #"}"#"##,
            ]
            let rest = repeatElement("    work()", count: lines - 2 - odd.count)
            let long =
                ["func long(", "_ body: () -> Void = {}) {"] + odd + rest.dropFirst() + ["}"]
            let short = ["protocol P {", "func required()", "var other: Int { get }", "}"]
            return (short + long + ["func short() {", "}"]).joined(separator: "\n")
        }
        let fits = SwiftText(source(lines: 70)).functions
        #expect(fits.map(\.name) == ["long", "short"])
        #expect(fits.map(\.line) == [5, 75])
        #expect(fits.map(\.length) == [70, 2])

        let path = "Sources/Rebuilder/Run.swift"
        let findings = HouseRules.longFunctions(in: File(path: path, text: source(lines: 71)))
        #expect(
            findings.map(\.description) == [
                "\(path):5: a function has 70 lines at most, 'long' has 71. Leave the branching"
                    + " here and move the work into functions it calls."
            ]
        )
        #expect(HouseRules.longFunctions(in: File(path: path, text: source(lines: 70))).isEmpty)
    }

    @Test("text over many lines hides its braces and quotes")
    func readsMultilineText() {
        let source = #"""
            init() {
                let text = """
                    } " \(value) \""" }
                    """
                _ = Self.init(text)
            }
            deinit {}
            static func < (left: A, right: A) -> Bool { left.a < right.a }
            func `case`<T>(case: T = { 1 }()) where T: P {
            }
            """#
        let functions = SwiftText(source).functions
        #expect(functions.map(\.name) == ["init", "deinit", "<", "case"])
        #expect(functions.map(\.length) == [6, 1, 1, 2])
    }

    @Test("a migration without a note is found")
    func findsMissingNote() {
        let with = File(path: "migrations/ledger/0001_events.sql", text: "")
        let note = File(path: "migrations/ledger/0001_events.md", text: "")
        let without = File(path: "migrations/ledger/0002_more.sql", text: "")
        let findings = HouseRules.migrationsWithoutNote(in: [with, note, without])
        #expect(findings.map(\.file) == [without.path])
    }

    @Test("an @unchecked Sendable with nothing to prove it is found")
    func findsUnprovedSendable() {
        let source = """
            /// Proved: one thread at a time.
            @usableFromInline
            final class Proved: @unchecked Sendable {}

            final class Unproved:
                Base, @unchecked Sendable {}
            // A comment that only speaks of @unchecked Sendable.
            extension Proved: Base,
                @unchecked Sendable {}
            struct Another {}
            struct Trailing: @unchecked Sendable {}  // Too late.
            """
        let file = File(path: "Sources/Ledgers/Proved.swift", text: source)
        #expect(HouseRules.unprovedSendable(in: file).map(\.line) == [6, 11])
    }

    @Test("unfinished work is found", arguments: ["// TODO: more", "-- FIXME", "/// todo TODO"])
    func findsUnfinishedWork(line: String) {
        let file = File(path: "Sources/Ledgers/Reader.swift", text: "let a = 1\n\(line)")
        #expect(HouseRules.unfinishedWork(in: file).map(\.line) == [2])
    }

    @Test(
        "a name that says nothing is found",
        arguments: ["StringUtils.swift", "TestHelpers.swift", "LockManager.swift"]
    )
    func findsEmptyName(name: String) {
        let files = [File(path: "Sources/Ledgers/Ledger.swift", text: "")]
        #expect(HouseRules.emptyNames(in: files).isEmpty)
        let bad = File(path: "Sources/Ledgers/\(name)", text: "")
        #expect(HouseRules.emptyNames(in: files + [bad]).map(\.file) == [bad.path])
    }

    @Test("an issue's number is found in a comment and in a document, a source's link is not")
    func findsTrackerNumber() {
        let swift = """
            // See #12.
            let text = "issue 12"
            /// As issue 12 asks.
            // https://github.com/some/thing/issues/12, some/thing#12
            """
        #expect(
            HouseRules.trackerNumbers(in: File(path: "Sources/A/B.swift", text: swift))
                .map(\.line) == [1, 3]
        )
        let document = File(path: "README.md", text: "# Title\n\nFixed (#7).\n[1](#1-why)")
        #expect(HouseRules.trackerNumbers(in: document).map(\.line) == [3])
        let sql = File(path: "migrations/a.sql", text: "SELECT '#1 ';\n-- for issues 3 and 4")
        #expect(HouseRules.trackerNumbers(in: sql).map(\.line) == [2])
    }

    @Test("a note without locks or way back is found")
    func findsMigrationNotes() {
        let file = File(path: "migrations/postgres/0001_a.md", text: "# a\n\nLocks: none.\n")
        #expect(
            HouseRules.migrationNotesWithoutLocks(in: file).map(\.rule) == [
                "a migration's note has a paragraph 'The way back: …'"
            ]
        )
    }

    @Test("a switch for tests outside of its condition is found")
    func findsSwitch() {
        let text = """
            #if DEBUG || REPRISE_STOPS
                let wanted = environment["REPRISE_STOP_AT"]
            #else
                let wanted = environment["REPRISE_STOP_AT"]
            #endif
            let wanted = environment["REPRISE_STOP_AT"]
            """
        let file = File(path: "Sources/ReadModels/Stop.swift", text: text)
        #expect(HouseRules.switchesInReleases(in: file).map(\.line) == [4, 6])
    }

    @Test("a dependency that no file of its target imports is found")
    func findsUnusedDependency() {
        let package = File(
            path: "Package.swift",
            text: """
                .target(
                    name: "A",
                    dependencies: ["B", "C"],
                    swiftSettings: houseRules
                ),
                .target(
                    name: "D",
                    dependencies: [
                        "E",
                    ],
                    path: "Elsewhere/D",
                    swiftSettings: houseRules
                ),
                """
        )
        let files = [
            File(path: "Sources/A/A.swift", text: "internal import B\n// C"),
            File(path: "Elsewhere/D/D.swift", text: "package import struct E.F"),
        ]
        let findings = HouseRules.unusedDependencies(of: package, in: files)
        #expect(findings.map(\.advice) == ["Take 'C' out of the dependencies of 'A'."])
        let none = HouseRules.unusedDependencies(of: package, in: [])
        #expect(none.count == 3)
    }

    @Test("a link that leads nowhere is found")
    func findsDeadLink() {
        let page = File(
            path: "docs/guide/a.md",
            text: "[a](../b.md#c) [d](https://e.f/g) [h](#i)\n[j](../../k.md) [l](m.md)"
        )
        let findings = HouseRules.deadLinks(in: page) { $0 == "docs/b.md" }
        #expect(
            findings.map(\.advice) == ["There is no 'k.md'.", "There is no 'docs/guide/m.md'."]
        )
    }

    // MARK: Reading the project

    private func exists(_ path: String) -> Bool {
        FileManager.default.fileExists(atPath: root.appending(path: path).path)
    }

    private let root = URL(filePath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    private func expectNone(
        _ rule: ([File]) -> [HouseRules.Finding],
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let files = try projectFiles()
        // A wrong folder would give no files, and no files keep every rule.
        try #require(files.contains { $0.path == "Tests/UnitTests/HouseRulesTests.swift" })
        try #require(files.contains { $0.path == "Package.swift" })
        for finding in rule(files) {
            Issue.record("\(finding)", sourceLocation: sourceLocation)
        }
    }

    /// Every text file of the project that people write.
    private func projectFiles() throws -> [File] {
        let folders = [
            "Sources", "Projections", "Tests", "Fuzz/Driver", "Fuzz/Targets", "Fuzz/Tests",
            "migrations", "scripts", "docs", "examples", "Benchmarks",
        ]
        let top = try FileManager.default.contentsOfDirectory(
            atPath: root.path(percentEncoded: false)
        )
        .filter { $0.hasSuffix(".md") || $0.hasSuffix(".swift") || $0 == "Makefile" }
        return try (top + folders.flatMap { paths(below: $0, in: root) }).sorted().map { path in
            File(
                path: path,
                text: try String(contentsOf: root.appending(path: path), encoding: .utf8)
            )
        }
    }

    private func paths(below folder: String, in root: URL) -> [String] {
        let path = root.appending(path: folder).path(percentEncoded: false)
        let below = FileManager.default.enumerator(atPath: path)?.compactMap { $0 as? String } ?? []
        return below.map { "\(folder)/\($0)" }.filter {
            var isFolder: ObjCBool = false
            let full = root.appending(path: $0).path(percentEncoded: false)
            return FileManager.default.fileExists(atPath: full, isDirectory: &isFolder)
                && !isFolder.boolValue
        }
    }
}
