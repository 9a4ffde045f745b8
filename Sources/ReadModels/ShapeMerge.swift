/// What a new table is to have, out of what `schema.sql` gives it and what its live twin has.
///
/// A three-way merge: what the live table has as the file gave it to it follows the file; what it
/// has beyond that was put there by hand, and is carried over.
struct ShapeMerge: Equatable, Sendable {
    /// The live table's name, for what is told.
    let table: String
    /// Everything the new table is to have.
    private(set) var shape: TableShape
    /// What is to be made on the new table, in order, each with what it takes the place of.
    private(set) var carried: [Carried] = []
    /// What is told about it.
    private(set) var findings: [Finding] = []

    /// A feature of the live table for the new one.
    struct Carried: Equatable, Sendable {
        let feature: TableFeature
        /// What the new table has under the same key.
        let replaced: TableFeature?
    }

    /// Leaves a new table as the file made it: it has no live twin.
    init(table: String, file: TableShape) {
        self.table = table
        shape = file
    }

    /// Gives a clone everything that its live twin has.
    init(table: String, clone: TableShape, live: TableShape) {
        self.table = table
        shape = clone
        for feature in live.inOrder where clone[feature.key]?.value != feature.value {
            carry(feature)
        }
    }

    /// Merges.
    ///
    /// - Parameters:
    ///   - table: The live table's name.
    ///   - file: What the file gave the new table.
    ///   - live: What the live table has.
    ///   - record: What the file gave the live table; nil when none did, or nobody wrote it down.
    init(table: String, file: TableShape, live: TableShape, record: [String: String]?) {
        self.table = table
        shape = file
        for feature in live.inOrder where feature.kind != "column" {
            guard feature.value != file[feature.key]?.value,
                feature.value != record?[feature.key]
            else { continue }
            merge(feature, file: file, recorded: record?[feature.key])
        }
        for feature in file.inOrder where record?[feature.key] == feature.value {
            tellReturn(of: feature, live: live)
        }
    }

    /// Merges what is on the live table by hand: neither the file nor its record has it so.
    private mutating func merge(_ feature: TableFeature, file: TableShape, recorded: String?) {
        if let owner = feature.partOf {
            guard let owner = shape[owner] else { return tellOrphan(feature) }
            // The sequence of an identity column that is none any more.
            guard
                feature.kind != "sequence" && !feature.key.hasPrefix("comment of the sequence ")
                    || owner.value.hasSuffix("AS IDENTITY")
            else { return }
        }
        let ours = file[feature.key]
        if ours?.value != recorded || feature.making.isEmpty {
            return tell(
                .warn,
                feature,
                ours == nil
                    ? "schema.sql does not have it; the new table will not have it either"
                    : "schema.sql has it otherwise; the new table follows schema.sql"
            )
        }
        if let other = other(like: feature, in: file) {
            return tell(
                .warn,
                feature,
                "put there by hand; schema.sql has \(other.key) in its place. Not carried over"
            )
        }
        let isWithOwner = feature.partOf.map { owner in
            carried.contains { $0.feature.key == owner }
        }
        carry(feature)
        if isWithOwner != true {
            tell(
                .ok,
                feature,
                "put there by hand and not in schema.sql; carried over. Take it off the live table "
                    + "if it is not wanted"
            )
        }
    }

    private mutating func carry(_ feature: TableFeature) {
        let replaced = shape[feature.key]
        shape[feature.key] = feature
        carried.append(Carried(feature: feature, replaced: replaced))
        // What goes with it comes back with it.
        guard replaced?.removal != nil else { return }
        carried += shape.inOrder.filter { $0.partOf == feature.key }
            .map { Carried(feature: $0, replaced: nil) }
    }

    /// What the file has in the place of a feature that has no such key in the file: the same under
    /// another name, or the one primary key that there can be.
    private func other(like feature: TableFeature, in file: TableShape) -> TableFeature? {
        guard file[feature.key] == nil else { return nil }
        return file.inOrder.first { other in
            if feature.isPrimaryKey && other.isPrimaryKey { return true }
            guard let twin = feature.twin, twin == other.twin else { return false }
            // A constraint does more than the index of a constraint.
            return feature.kind == "index"
                || feature.kind == other.kind && feature.value == other.value
        }
    }

    /// Says that a feature goes because what it belongs to is gone.
    ///
    /// Only a column is worth a line, and a mark on an index: a comment goes with its index unsaid.
    private mutating func tellOrphan(_ feature: TableFeature) {
        guard let owner = feature.partOf,
            owner.hasPrefix("column ") || feature.kind == "replica" || feature.kind == "CLUSTER"
        else { return }
        tell(.warn, feature, "the new table has no \(owner), so it goes as well")
    }

    /// Says that what somebody took off the live table comes back.
    private mutating func tellReturn(of feature: TableFeature, live: TableShape) {
        guard live[feature.key] == nil, feature.kind != "column",
            feature.partOf.map({ live[$0] != nil }) ?? true
        else { return }
        tell(
            .warn,
            feature,
            "schema.sql has it, and it was taken off the live table by hand; the new table has it "
                + "again"
        )
    }

    private mutating func tell(_ level: Finding.Level, _ feature: TableFeature, _ note: String) {
        findings.append(Finding(level, "\(feature.key) on \(table)", note + "."))
    }
}
