@testable import ReadModels

/// What stored trees mean, in the place of other relations.
enum StoredTreesCheck {
    /// Two OIDs of four bytes, then two trees with a zero byte between them.
    static func run(_ input: [UInt8]) throws {
        guard input.count >= 8 else { return }
        func oid(_ start: Int) -> UInt32 {
            input[start..<(start + 4)].reduce(0) { $0 << 8 | UInt32($1) }
        }
        let texts = Array(input.dropFirst(8)).texts(2)
        let (here, there) = (Meaning(text: texts[0]), Meaning(text: texts[1]))
        try require(here.difference(from: here) == nil, "a tree does not differ from itself")
        if here.difference(from: there) == nil {
            let parts = [here, there].map { $0.text.split(separator: ":") }
            try require(parts[0] == parts[1], "trees without a difference are alike")
        }
        let none = here.mapped(by: Successors([]))
        try require(none == here, "without successors a tree stays")
        let (old, new) = (oid(0), oid(4))
        let mapped = here.mapped(by: Successors([(old, new)]))
        try require(
            mapped.text.count { $0 == ":" } == here.text.count { $0 == ":" },
            "a tree keeps its fields"
        )
        let fresh = !here.text.contains("\(new)") && !here.text.contains("constvalue")
        if fresh {
            let back = mapped.mapped(by: Successors([(new, old)]))
            try require(back == here, "a tree that went there comes back")
        }
    }
}
