import Testing

@testable import ProjectionKit

@Suite("Texts in keys")
struct KeyTextsTests {
    private static let composed = "caf\u{e9}"
    private static let decomposed = "cafe\u{301}"

    private struct Holder<Key: Hashable & Sendable>: TableRow {
        var id: Int64 = 0
        var key: Key

        static var table: TableDefinition<Holder> {
            TableDefinition<Holder>("holder", key: "id") { Column("id", \.id) }
        }
    }

    private struct Deep: Hashable {
        struct Inner: Hashable { var text: String? }
        var number: Int64
        var inner: Inner
    }

    /// Whether two keys that Swift takes for the same are two rows, in every way to find one.
    private func areTwo<Key: Hashable & Sendable>(_ one: Key, _ other: Key) -> Bool {
        #expect(one == other)
        var table = Table<Holder<Key>>()
        table[one] = Holder(key: one)
        let wasThere = table.contains(other)
        table.beginJournal(wants: nil)
        table[other, default: Holder(key: other)].id = 2
        let count = table.count
        #expect(table[one]?.id == (wasThere ? 2 : 0) && table[other]?.id == 2)
        #expect(table.undoChanges())
        #expect(table.count == 1 && table[one]?.id == 0)
        var part = Table<Holder<Key>>()
        part.insert(Holder(key: other))
        var whole = Table<Holder<Key>>()
        whole.insert(Holder(key: one))
        #expect(whole.absorb(part) == (count == 2))
        return count == 2 && !wasThere
    }

    @Test("O5: keys whose texts have other bytes are other keys, wherever the text stands")
    func bytes() {
        let (one, other) = (Self.composed, Self.decomposed)
        #expect(areTwo(one, other))
        #expect(areTwo(Optional(one), Optional(other)))
        #expect(areTwo(one.prefix(9), other.prefix(9)))
        #expect(areTwo(Character("\u{e9}"), Character("e\u{301}")))
        #expect(areTwo(["a", one], ["a", other]))
        #expect(
            areTwo(
                Deep(number: 1, inner: Deep.Inner(text: one)),
                Deep(number: 1, inner: Deep.Inner(text: other))
            )
        )
        #expect(!areTwo(one, one))
        #expect(!areTwo(0.0, -0.0))
    }

    @Test("O5: spellings of one text do not share a hash, so that nobody can prepare keys that do")
    func hashes() {
        // 2^10 spellings, which are all the same to Swift.
        let spellings = (0..<1_024).map { bits in
            (0..<10).map { bits >> $0 & 1 == 0 ? "\u{e9}" : "e\u{301}" }.joined()
        }
        #expect(Set(spellings).count == 1)
        #expect(Set(spellings.map { KeyHash.hash($0, nil) }).count > 1_000)
        let texts = KeyTexts.of(Deep.self)
        let keys = spellings.map { Deep(number: 1, inner: Deep.Inner(text: $0)) }
        #expect(Set(keys.map { KeyHash.hash($0, texts) }).count > 1_000)
    }

    @Test("O5: types of events are told apart by their bytes")
    func eventTypes() {
        #expect(EventType(Self.composed) != EventType(Self.decomposed))
        #expect(EventType(Self.composed) == EventType(Self.composed))
        #expect(EventType(Self.decomposed).name.utf8.elementsEqual(Self.decomposed.utf8))
    }

    @Test("O5: two folds that differ in the bytes of a key alone are different")
    func comparison() {
        let tables = [Self.composed, Self.decomposed].map { word in
            var table = Table<Holder<String>>()
            table.insert(Holder(key: word))
            return table
        }
        guard case .different(let difference) = tables[0].comparison(with: tables[1]) else {
            Issue.record("they are the same")
            return
        }
        #expect(difference.rows == 2)
    }
}
