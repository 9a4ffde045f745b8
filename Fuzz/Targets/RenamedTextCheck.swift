import Postgres

@testable import ReadModels

/// Names exchanged in SQL.
enum RenamedTextCheck {
    private static let old = QualifiedName(schema: "live", name: "orders")
    private static let new = QualifiedName(schema: "re'build\\", name: "or\"ders")

    static func run(_ input: [UInt8]) throws {
        let text = String(decoding: input, as: UTF8.self)
        guard !text.utf8.contains(0) else { return }
        let same = RenamedText(names: [:]).text(text)
        // A name in a constant is written again as the server would write it.
        let isAllPlain = !text.utf8.contains("::regclass".utf8)
        if isAllPlain { try require(bytes(same) == bytes(text), "without names nothing changes") }
        try require(
            bytes(RenamedText(names: [:]).text(same)) == bytes(same),
            "what was written once is written alike again"
        )
        let renamed = RenamedText(names: [old: new]).text(text)
        if isAllPlain, !text.utf8.contains("live".utf8), !text.utf8.contains("\"".utf8) {
            try require(bytes(renamed) == bytes(text), "other names stay")
        }
        let back = RenamedText(names: [new: old]).text(renamed)
        let there = RenamedText(names: [old: new]).text(back)
        if !text.utf8.contains("re'build".utf8) {
            try require(bytes(there) == bytes(renamed), "names that went back come again")
        }
    }

    // Characters compare by canonical equivalence, and what the server reads does not.
    private static func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }
}
