import ProjectionKit
import ReadModels
import TestSupport
import Testing

@Suite("What tables note of their changes")
struct TableJournalTests {
    /// Two tables that hold all rows or only those they were given, and what they were written to.
    private struct Store {
        static let types: [ColumnType] = [.int8, .int8]
        /// Rows by key, as PostgreSQL would hold them: by table.
        var rows: [[Int64: Int64]] = [[:], [:]]

        /// Does what the tables say has changed.
        ///
        /// - Returns: The changes; each of them has to fit what is there.
        mutating func write(_ fold: any Fold) throws -> [TableChanges] {
            try fold.tables.enumerated().map { number, table in
                var buffer = RowBuffer()
                for byte in Array("PGCOPY\n".utf8) { buffer.append(byte) }
                buffer.append(UInt32(0xff0d_0a00))
                buffer.append(Int64(0))
                let changes = try table.encodeChanges(
                    as: Self.types,
                    earlierAs: [20, 20],
                    into: &buffer
                )
                buffer.append(Int16(-1))
                var parser = BinaryRows(fieldCount: 4)
                try parser.take(buffer.bytes) { fields in
                    let change = try RowChange(rawValue: Int16(field: fields[0], as: .int2))
                    let key = try Int64(field: fields[1], as: .int8)
                    let value = try Int64(field: fields[2], as: .int8)
                    let known = rows[number][key]
                    switch change {
                    case .insert: #expect(known == nil)
                    case .update: #expect(known != nil && known != value)
                    case .delete: #expect(known == value)
                    case nil: Issue.record("no such change")
                    }
                    rows[number][key] = change == .delete ? nil : value
                }
                try parser.finish()
                table.settleChanges()
                return changes
            }
        }

        /// Gives the tables the rows that they want.
        func fetch(for fold: any Fold) throws {
            for (number, table) in fold.tables.enumerated() where table.wantedKeys > 0 {
                var wanted = RowBuffer()
                try table.encodeWantedKeys(as: Self.types, into: &wanted)
                // Field count, length and eight bytes each.
                let keys = stride(from: 6, to: wanted.count, by: 14).map {
                    Int64(bigEndian: wanted.bytes.loadUnaligned(fromByteOffset: $0, as: Int64.self))
                }
                try table.admitWantedRows(as: Self.types) { admit in
                    for key in keys {
                        guard let value = rows[number][key] else { continue }
                        try withUnsafeBytes(of: (key.bigEndian, value.bigEndian)) { bytes in
                            try admit([
                                UnsafeRawBufferPointer(rebasing: bytes[..<8]),
                                UnsafeRawBufferPointer(rebasing: bytes[8...]),
                            ])
                        }
                    }
                }
            }
        }
    }

    /// Random events over a few keys: puts, removals, additions, and steps from row to row, whose
    /// keys are known only when the row before is.
    private func batches(
        _ number: Int,
        of size: Int,
        _ random: inout SeededRandom
    ) -> [EventBatch] {
        (0..<number).map { _ in
            let batch = EventBatch()
            for _ in 0..<size {
                let kind = ["put", "remove", "add", "step", "step"].randomElement(using: &random)
                let key = Int64.random(in: 0..<40, using: &random)
                let value = Int64.random(in: 0..<40, using: &random)
                Chain.append(kind ?? "put", key, value, to: batch)
            }
            return batch
        }
    }

    @Test(
        "a fold that reads its rows back writes what a fold writes that holds them all",
        arguments: [1, 2, 3, 4, 5, 6, 7, 8] as [UInt64]
    )
    func readingBack(seed: UInt64) throws {
        print("journal: seed \(seed)")
        var random = SeededRandom(seed: seed)
        let whole = Chain.makeFold()
        whole.beginJournal(holdsAllRows: true)
        let partial = Chain.makeFold()
        partial.beginJournal(holdsAllRows: false)
        var (first, second) = (Store(), Store())
        for (number, batch) in batches(30, of: 20, &random).enumerated() {
            try whole.apply(batch)
            if number.isMultiple(of: 7) { partial.forgetRows() }
            var rounds = 0
            while try !partial.tryApply(batch) {
                rounds += 1
                try second.fetch(for: partial)
            }
            #expect(rounds <= 20)
            let changes = try first.write(whole)
            #expect(try second.write(partial) == changes)
            #expect(first.rows == second.rows)
        }
        #expect(first.rows == whole.tables.map { Chain.rows(of: $0) })
        #expect(first.rows.allSatisfy { !$0.isEmpty })
    }

    @Test("an event that is refused leaves the tables as they were before its batch")
    func refusal() throws {
        let fold = Chain.makeFold()
        fold.beginJournal(holdsAllRows: false)
        var store = Store(rows: [[1: 10], [:]])
        let batch = EventBatch()
        Chain.append("put", 1, 11, to: batch)
        Chain.append("put", 2, 12, to: batch)
        Chain.append("refuse", 0, 0, to: batch)
        #expect(try !fold.tryApply(batch))
        try store.fetch(for: fold)
        #expect(throws: EventRejection.self) { _ = try fold.tryApply(batch) }
        #expect(try store.write(fold).allSatisfy { $0.isEmpty })
        #expect(Chain.rows(of: fold.tables[0]) == [1: 10])
    }

    @Test("a reducer that asks for the number of rows wants whole tables")
    func wholeTables() throws {
        let fold = Chain.makeFold()
        fold.beginJournal(holdsAllRows: false)
        let batch = EventBatch()
        Chain.append("count", 0, 0, to: batch)
        #expect(try !fold.tryApply(batch))
        #expect(fold.wants?.isWhole == true)
    }

    @Test("a row that is changed and changed back is not written")
    func changedBack() throws {
        let fold = Chain.makeFold()
        fold.beginJournal(holdsAllRows: true)
        var store = Store()
        let batch = EventBatch()
        Chain.append("put", 1, 10, to: batch)
        try fold.apply(batch)
        #expect(try store.write(fold).map(\.inserted) == [1, 0])
        batch.removeAll()
        Chain.append("put", 1, 11, to: batch)
        Chain.append("put", 1, 10, to: batch)
        Chain.append("put", 2, 10, to: batch)
        Chain.append("remove", 2, 0, to: batch)
        try fold.apply(batch)
        #expect(try store.write(fold).allSatisfy { $0.isEmpty })
    }
}

/// Rows that lead to other rows.
private struct Chain: Projection {
    struct Link: TableRow {
        var id: Int64
        var next: Int64
        var key: Int64 { id }

        static let table = TableDefinition<Link>("link", key: "id") {
            Column("id", \.id)
            Column("next", \.next)
        }
    }

    struct Visit: TableRow {
        var id: Int64
        var visits: Int64 = 0
        var key: Int64 { id }

        static let table = TableDefinition<Visit>("visit", key: "id") {
            Column("id", \.id)
            Column("visits", \.visits)
        }
    }

    static let name = "chain"
    static let schema: String? = nil

    var links = Table<Link>()
    var visits = Table<Visit>()

    mutating func reduce(_ event: borrowing Event) throws {
        let key = try event.payload.int64("k")
        let value = try event.payload.int64("v")
        switch event.type {
        case EventType("put"): links[key] = Link(id: key, next: value)
        case EventType("remove"):
            links.remove(key)
            visits[key] = nil
        case EventType("add"): links[key]?.next += 1
        case EventType("step"):
            guard let next = links[key]?.next, let last = links[next]?.next else { return }
            visits[last, default: Visit(id: last)].visits += 1
        case EventType("count"): links[key] = Link(id: key, next: Int64(links.count))
        default: throw EventError("it is refused")
        }
    }

    static func append(_ type: String, _ key: Int64, _ value: Int64, to batch: EventBatch) {
        batch.append(
            LedgerEvent(
                position: Position(UInt64(batch.count)),
                time: Timestamp(microseconds: 0),
                bucketStart: 0,
                type: type,
                stream: "",
                payload: #"{"k":\#(key),"v":\#(value)}"#
            )
        )
    }

    static func rows(of table: any LoadableTable) -> [Int64: Int64] {
        switch table {
        case let table as Table<Link>:
            Dictionary(uniqueKeysWithValues: table.rows.map { ($0.id, $0.next) })
        case let table as Table<Visit>:
            Dictionary(uniqueKeysWithValues: table.rows.map { ($0.id, $0.visits) })
        default: [:]
        }
    }
}
