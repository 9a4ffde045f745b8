/// What came of copying a table.
struct LoadedTable: Sendable {
    let rows: Int
    let bytes: Int
}

/// The work that is left of a load, handed out to whoever has a connection free: the largest table
/// comes first, since what is left of it last is what everybody waits for.
///
/// The indexes of a table can be built when its rows are there, and what is made of them when all are
/// built.
actor LoadQueue {
    /// A table to be loaded.
    struct Table: Sendable {
        let name: String
        let rows: Int
        let definitions: DeferredDefinitions.OfTable
    }

    /// Something that one connection does in one transaction.
    struct Item: Sendable {
        enum Work: Sendable {
            /// The rows.
            case copy
            /// An index.
            case build([String])
            /// What is made of the indexes.
            case finish([String])
        }

        /// The table's place in the list.
        let table: Int
        let work: Work
        fileprivate let step: Step
    }

    fileprivate enum Step { case copy, index, rest }

    /// How many items there will be.
    nonisolated let items: Int

    private let tables: [Table]
    private var ready: [Item]
    private var indexesLeft: [Int]
    private var tablesLeft: Int
    private var waiting: [CheckedContinuation<Item?, Never>] = []
    private var isStopped = false

    /// What came of the copies so far, by the table's name.
    private(set) var loaded: [String: LoadedTable] = [:]

    /// All tables are still to be copied.
    init(_ tables: [Table]) {
        self.tables = tables
        items = tables.map { $0.definitions.indexes.count + 2 }.reduce(0, +)
        ready = tables.indices.map { Item(table: $0, work: .copy, step: .copy) }
        indexesLeft = tables.map(\.definitions.indexes.count)
        tablesLeft = tables.count
    }

    /// Waits for the next item; nil when there are no more, or somebody has failed.
    func next() async -> Item? {
        if let item = takeReady() { return item }
        guard tablesLeft > 0, !isStopped else { return nil }
        return await withCheckedContinuation { waiting.append($0) }
    }

    /// An item is done, and others may be ready because of it.
    ///
    /// - Parameters:
    ///   - item: As ``next()`` gave it.
    ///   - result: What came of it, where it was a copy.
    func finish(_ item: Item, _ result: LoadedTable? = nil) {
        if let result { loaded[tables[item.table].name] = result }
        let definitions = tables[item.table].definitions
        switch item.step {
        case .copy:
            ready += definitions.indexes.map {
                Item(table: item.table, work: .build($0), step: .index)
            }
        case .index: indexesLeft[item.table] -= 1
        case .rest: tablesLeft -= 1
        }
        if item.step != .rest, indexesLeft[item.table] == 0 {
            ready.append(Item(table: item.table, work: .finish(definitions.rest), step: .rest))
        }
        handOut()
    }

    /// Runs `body`, and lets nobody wait for more when it fails.
    nonisolated func stoppingOnFailure(_ body: () async throws -> Void) async throws {
        do {
            try await body()
        } catch {
            await stop()
            throw error
        }
    }

    private func stop() {
        isStopped = true
        handOut()
    }

    private func handOut() {
        while !waiting.isEmpty {
            if let item = takeReady() {
                waiting.removeFirst().resume(returning: item)
            } else if tablesLeft == 0 || isStopped {
                waiting.removeFirst().resume(returning: nil)
            } else {
                return
            }
        }
    }

    private func takeReady() -> Item? {
        guard !isStopped else { return nil }
        let first = ready.indices.min { left, right in
            rank(ready[left]) < rank(ready[right])
        }
        return first.map { ready.remove(at: $0) }
    }

    private func rank(_ item: Item) -> (Int, String) {
        (-tables[item.table].rows, tables[item.table].name)
    }
}
