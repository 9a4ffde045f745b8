import Testing

@testable import ReadModels

@Suite("Merging what schema.sql says with what is on a live table")
struct ShapeMergeTests {
    private static let index = feature("index a", "USING btree (a)", rank: 11)

    @Test("what the file has as the live table has it stays, and nothing is told")
    func same() {
        let merge = merge(file: [Self.index], live: [Self.index], record: nil)
        #expect(merge.carried.isEmpty)
        #expect(merge.findings.isEmpty)
    }

    @Test("what is on the live table only, and in no record, is carried over and told")
    func byHand() {
        for record in [nil, [:], ["index b": "USING btree (b)"]] as [[String: String]?] {
            let merge = merge(file: [], live: [Self.index], record: record)
            #expect(merge.carried.map(\.feature) == [Self.index])
            #expect(merge.findings.map(\.level) == [.ok])
            #expect(merge.findings.map(\.subject) == ["index a on s.t"])
            #expect(merge.shape["index a"] == Self.index)
        }
    }

    @Test("what the file once gave the live table and no longer has goes, and nothing is told")
    func goneOnPurpose() {
        let merge = merge(file: [], live: [Self.index], record: ["index a": Self.index.value])
        #expect(merge.carried.isEmpty)
        #expect(merge.findings.isEmpty)
        #expect(merge.shape.isEmpty)
    }

    @Test("what the file changed and nobody else follows the file, and nothing is told")
    func changedOnPurpose() {
        let new = feature("index a", "USING btree (a, b)", rank: 11)
        let merge = merge(file: [new], live: [Self.index], record: ["index a": Self.index.value])
        #expect(merge.carried.isEmpty)
        #expect(merge.findings.isEmpty)
        #expect(merge.shape["index a"] == new)
    }

    @Test("what was changed by hand and not in the file takes the place of the file's")
    func changedByHand() {
        let new = feature("index a", "USING btree (a, b)", rank: 11)
        let merge = merge(file: [Self.index], live: [new], record: ["index a": Self.index.value])
        #expect(merge.carried == [.init(feature: new, replaced: Self.index)])
        #expect(merge.findings.map(\.level) == [.ok])
    }

    @Test("what was changed by hand and in the file follows the file, with a warning")
    func conflict() {
        let hand = feature("index a", "USING btree (a, b)", rank: 11)
        let file = feature("index a", "USING btree (a, c)", rank: 11)
        for record in [nil, ["index a": Self.index.value]] {
            let merge = merge(file: [file], live: [hand], record: record)
            #expect(merge.carried.isEmpty)
            #expect(merge.findings.map(\.level) == [.warn])
            #expect(merge.shape["index a"] == file)
        }
        let gone = merge(file: [], live: [hand], record: ["index a": Self.index.value])
        #expect(gone.carried.isEmpty)
        #expect(gone.findings.map(\.level) == [.warn])
    }

    @Test("what was taken off by hand and is in the file comes back, with a warning")
    func takenOff() {
        let merge = merge(file: [Self.index], live: [], record: ["index a": Self.index.value])
        #expect(merge.findings.map(\.level) == [.warn])
        #expect(self.merge(file: [Self.index], live: [], record: [:]).findings.isEmpty)
    }

    @Test("what the file has under another name is not made twice, and that is told")
    func otherName() {
        let same = feature("index b", Self.index.value, rank: 11)
        let unique = feature("constraint u", "UNIQUE (a)", twin: Self.index.value, rank: 11)
        for file in [same, unique] {
            let merge = merge(file: [file], live: [Self.index], record: nil)
            #expect(merge.carried.isEmpty)
            #expect(merge.findings.map(\.level) == [.warn])
            #expect(merge.findings.first?.note.contains(file.key) == true)
        }
        // A constraint can be named in ON CONFLICT, an index of the same columns cannot.
        #expect(merge(file: [same], live: [unique], record: nil).carried.count == 1)
    }

    @Test("a table has one primary key: the file's")
    func primaryKey() {
        let hand = feature("constraint h", "PRIMARY KEY (a)", rank: 10)
        let file = feature("constraint f", "PRIMARY KEY (a, b)", rank: 10)
        let merge = merge(file: [file], live: [hand], record: nil)
        #expect(merge.carried.isEmpty)
        #expect(merge.findings.map(\.level) == [.warn])
    }

    @Test("what belongs to something comes with it, unsaid, and goes with it")
    func parts() {
        let comment = feature("comment of index a", "c", partOf: "index a", rank: 13)
        let mark = feature("CLUSTER mark", "ON a", partOf: "index a", rank: 14)
        let live = [Self.index, comment, mark]
        let with = merge(file: [], live: live, record: nil)
        #expect(with.carried.map(\.feature) == live)
        #expect(with.findings.count == 1)

        let without = merge(file: [], live: live, record: ["index a": Self.index.value])
        #expect(without.carried.isEmpty)
        #expect(without.findings.map(\.subject) == ["CLUSTER mark on s.t"])
    }

    @Test("what belongs to a column goes with the column, and that is told")
    func column() {
        let column = feature("column a", "integer")
        let comment = feature("comment of column a", "c", partOf: "column a", rank: 6)
        let gone = merge(file: [], live: [column, comment], record: nil)
        #expect(gone.carried.isEmpty)
        #expect(gone.findings.map(\.level) == [.warn])
        let kept = merge(file: [column], live: [column, comment], record: nil)
        #expect(kept.carried.map(\.feature) == [comment])
    }

    @Test("what belongs to something that is made anew is put back onto it")
    func madeAnew() {
        let file = feature("constraint c", "CHECK (a > 1)", removal: "DROP", rank: 3)
        let hand = feature("constraint c", "CHECK (a > 2)", removal: "DROP", rank: 3)
        let comment = feature("comment of constraint c", "c", partOf: "constraint c", rank: 6)
        let merge = merge(
            file: [file, comment],
            live: [hand, comment],
            record: ["constraint c": file.value, "comment of constraint c": "c"]
        )
        #expect(merge.carried.map(\.feature) == [hand, comment])
        #expect(hand.statements(replacing: file) == ["DROP", "make constraint c"])
    }

    @Test("an identity column's sequence is carried over to an identity column only")
    func sequence() {
        let identity = feature("default of column a", "GENERATED ALWAYS AS IDENTITY")
        let plain = feature("default of column a", "1")
        let options = feature(
            "sequence options of column a",
            "SET CACHE 9",
            partOf: "default of column a",
            rank: 2
        )
        #expect(
            merge(file: [identity], live: [identity, options], record: [:]).carried.count == 1
        )
        #expect(merge(file: [plain], live: [identity, options], record: nil).carried.isEmpty)
    }

    @Test("a clone gets everything that is not on it yet, and nothing is told")
    func clone() {
        let column = feature("column a", "integer")
        let merge = ShapeMerge(
            table: "s.t",
            clone: shape([column]),
            live: shape([column, Self.index])
        )
        #expect(merge.carried.map(\.feature) == [Self.index])
        #expect(merge.findings.isEmpty)
    }

    private func merge(
        file: [TableFeature],
        live: [TableFeature],
        record: [String: String]?
    ) -> ShapeMerge {
        ShapeMerge(table: "s.t", file: shape(file), live: shape(live), record: record)
    }

    private func shape(_ features: [TableFeature]) -> TableShape {
        Dictionary(uniqueKeysWithValues: features.map { ($0.key, $0) })
    }
}

private func feature(
    _ key: String,
    _ value: String,
    twin: String? = nil,
    partOf: String? = nil,
    removal: String? = nil,
    rank: Int = 0
) -> TableFeature {
    let isObject = ["index", "constraint"].contains(key.prefix { $0 != " " })
    return TableFeature(
        key: key,
        value: value,
        twin: twin ?? (isObject ? value : nil),
        partOf: partOf,
        rank: rank,
        making: ["make \(key)"],
        removal: removal
    )
}
