import ProjectionKit

/// A row of one number.
struct Tally: TableRow {
    let name: String
    var number: Int64 = 0
    var key: String { name }

    static let table = TableDefinition<Tally>("tally", key: "name") {
        Column("name", \.name)
        Column("number", \.number)
    }
}

/// A reducer that crashes as the event's type says.
struct Trap: Projection {
    static let name = "trap"
    static let schema: String? =
        "CREATE TABLE tally (name text PRIMARY KEY, number bigint NOT NULL);"

    var rows = Table<Tally>()

    mutating func reduce(_ event: borrowing Event) throws {
        let name = event.stream
        switch event.type.name {
        case "Nothing":
            // swift-format-ignore: NeverForceUnwrap
            rows[name] = rows["nobody"]!
        case "Overflow": rows[name, default: Tally(name: name, number: 1)].number += .max
        case "Index": rows[name] = [Tally(name: name)][rows.count + 1]
        case "Depth": rows[name, default: Tally(name: name)].number += depth(1)
        case "Stray": rows["another"] = Tally(name: name)
        case "Printed":
            print("a reducer prints")
            rows[name, default: Tally(name: name)].number += 1
        default: rows[name, default: Tally(name: name)].number += 1
        }
    }

    /// Endless, in a way that no optimiser makes a loop of.
    @inline(never)
    private func depth(_ number: Int64) -> Int64 {
        withUnsafeTemporaryAllocation(of: Int64.self, capacity: 64) { memory in
            memory.initialize(repeating: number)
            return depth(memory[Int(number & 63)] + 1) &+ memory[Int(number & 31)]
        }
    }
}
