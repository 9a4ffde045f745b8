/// Counts what a reducer does to the rows of one table.
@usableFromInline
class TableActivity {
    /// Rows inserted, removed, or handed to the reducer to be changed.
    @exclusivity(unchecked) @usableFromInline final var changes = 0

    @usableFromInline
    init() {}
}

/// Of which types events have changed rows of a projection's tables.
///
/// A reducer does not declare which types it handles, so it is watched: an event is handled when a table
/// did something while it was reduced. Once a type is known to be handled, its events cost one look into
/// an array; those of the others cost a look at a number of each table.
struct HandledTypes {
    private enum State {
        static let unseen: UInt8 = 0
        static let ignored: UInt8 = 1
        static let handled: UInt8 = 2
    }

    /// By the number of the type.
    private var states: [UInt8] = []
    private var seen: [EventType] = []
    /// Where the projection's tables stand in it; nil where that cannot be told.
    private let offsets: [Int]?

    /// Looks for the tables of a projection.
    ///
    /// - Parameters:
    ///   - projection: Its type.
    ///   - count: How many it declares.
    init<P>(of projection: P.Type, tables count: Int) {
        let properties = StoredProperty.whole(P.self)?.properties ?? []
        let tables = properties.filter { $0.type is any FoldedTable.Type }
        // A property of another type may hold a table as well, and stand anywhere.
        offsets = tables.count == count ? tables.map(\.offset) : nil
    }

    /// Whether nothing more is to be learnt of a type.
    func isSettled(_ type: EventType) -> Bool {
        type.index < states.count && states[type.index] == State.handled || offsets == nil
    }

    /// Notes an event of a type that was reduced.
    mutating func note(_ type: EventType, hasChanged: Bool) {
        while states.count <= type.index { states.append(State.unseen) }
        if states[type.index] == State.unseen {
            states[type.index] = State.ignored
            seen.append(type)
        }
        if hasChanged { states[type.index] = State.handled }
    }

    /// A number that is another one when a table of the projection has done something.
    func activity<P>(of projection: inout P) -> Int {
        withUnsafePointer(to: &projection) { projection in
            var sum = 0
            for offset in offsets ?? [] {
                // A table is one reference to its rows, of which there may be others by now.
                let rows = (UnsafeRawPointer(projection) + offset).load(as: UnsafeRawPointer.self)
                let changes = Unmanaged<TableActivity>.fromOpaque(rows)
                    ._withUnsafeGuaranteedRef { $0.changes }
                sum = sum &* 31 &+ changes &+ Int(bitPattern: rows)
            }
            return sum
        }
    }

    /// Takes up what another copy of the projection has done.
    mutating func add(_ other: HandledTypes) {
        for type in other.seen {
            note(type, hasChanged: other.states[type.index] == State.handled)
        }
    }

    /// Types whose events have changed no row, by name; nil where that cannot be told.
    var ignored: [String]? {
        guard offsets != nil else { return nil }
        return seen.filter { states[$0.index] == State.ignored }.map(\.name).sorted()
    }

    /// Whether any event has changed a row, as far as can be told.
    var isAny: Bool { offsets == nil || seen.contains { states[$0.index] == State.handled } }
}
