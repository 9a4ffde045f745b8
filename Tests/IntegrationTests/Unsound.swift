import Foundation
import ProjectionKit
import Synchronization

/// Projections that give other rows each time they are folded.
enum Unsound {
    /// A label by the throw of a die.
    struct Random: UnsoundTally {
        static let name = "tally"
        var tallies = Table<TallyRow>()

        func label(of row: TallyRow) -> String { "\(UInt64.random(in: 0...UInt64.max))" }
    }

    /// A label by the clock.
    struct Clock: UnsoundTally {
        static let name = "tally"
        var tallies = Table<TallyRow>()

        func label(of row: TallyRow) -> String { "\(Date().timeIntervalSince1970.bitPattern)" }
    }

    /// A label by the order of a Dictionary.
    struct Order: UnsoundTally {
        private static let folds = Atomic(0)
        static let name = "tally"
        var tallies = Table<TallyRow>()
        // Of one capacity two may have the same order by chance: it goes by where in memory they stand.
        var seen = [Int64: Int](
            minimumCapacity: 64 << (folds.add(1, ordering: .relaxed).newValue % 8)
        )

        mutating func note(_ id: Int64) { seen[id, default: 0] += 1 }
        func label(of row: TallyRow) -> String { seen.map { "\($0.key)" }.joined(separator: " ") }
    }

    /// The throw of a die in what the reducer keeps for itself.
    struct Hidden: UnsoundTally {
        static let name = "tally"
        var tallies = Table<TallyRow>()
        var memory = WorkingTable<MemoryRow>()

        mutating func note(_ id: Int64) {
            memory[id] = MemoryRow(id: id, chance: UInt64.random(in: 0...UInt64.max).description)
        }
        func label(of row: TallyRow) -> String { "new" }
    }

    /// A row that only every second fold has.
    struct Missing: UnsoundTally {
        private static let folds = Atomic(0)
        static let name = "tally"
        var tallies = Table<TallyRow>()
        private let isSecond = Missing.folds.add(1, ordering: .relaxed).newValue.isMultiple(of: 2)

        mutating func note(_ id: Int64) { if isSecond { tallies[1] = nil } }
        func label(of row: TallyRow) -> String { "new" }
    }
}

/// What the reducer keeps for itself.
struct MemoryRow: TableRow {
    let id: Int64
    var chance: String
    var key: Int64 { id }

    static let table = TableDefinition<MemoryRow>("memory", key: "id") {
        Column("id", \.id)
        Column("chance", \.chance)
    }
}

/// Counts as ``Tally`` does, and labels as it likes.
protocol UnsoundTally: Projection {
    var tallies: Table<TallyRow> { get set }

    /// Remembers an id before it is labelled.
    mutating func note(_ id: Int64)
    /// What the row is labelled with.
    func label(of row: TallyRow) -> String
}

extension UnsoundTally {
    static var schema: String? {
        "CREATE TABLE tally (id bigint PRIMARY KEY, events bigint NOT NULL, label text NOT NULL)"
    }

    mutating func note(_ id: Int64) {}

    mutating func reduce(_ event: borrowing Event) throws {
        guard event.type == .counted else { return }
        let id = try event.payload.int64("id")
        var row = tallies[id] ?? TallyRow(id: id)
        row.events += 1
        note(id)
        row.label = label(of: row)
        tallies[id] = row
    }
}
