import Foundation
import TestSupport
import Testing

@testable import Ledgers

/// The index of ids beside a dictionary that does the same.
@Suite("The index of ids")
struct IDIndexTests {
    @Test(
        "finds what was added and nothing else, through batches of all sizes, merges, undone batches and other writers",
        arguments: (0..<4).map { _ in UInt64.random(in: 1...999_999_999) }
    )
    func model(seed: UInt64) throws {
        print("index of ids: seed \(seed)")
        var random = SeededRandom(seed: seed)
        try withLedgerFolder { folder in
            let path = folder.file("a.ledger")
            try SQLiteLedger.create(path: path)
            try SQLiteDatabase.withDatabase(path: path, mode: .write, patience: 0) { database in
                // Two writers that take turns.
                let indexes = [
                    try IDIndex(database: database, seed: 7),
                    try IDIndex(database: database, seed: 7),
                ]
                var model = Model()
                for _ in 0..<60 {
                    let index = indexes[Int.random(in: 0...1, using: &random)]
                    try step(index, database, &model, &random)
                }
                let fresh = try IDIndex(database: database, seed: 7)
                try database.reading {
                    try fresh.begin()
                    for (hash, sequences) in model.entries {
                        #expect(try fresh.find(hash).sorted() == sequences, "seed \(seed)")
                    }
                    for _ in 0..<5_000 {
                        let hash = random.next()
                        #expect(try fresh.find(hash) == model.entries[hash] ?? [])
                    }
                }
                let runs = try IDRun.all(in: database)
                #expect(runs.count < 40, "runs are merged")
                #expect(runs.contains { $0.ids > 8_192 }, "nothing was merged: \(runs)")
            }
        }
    }

    @Test("gets ready for many look-ups while another writer is in the middle of a transaction")
    func prepareBesideWriter() throws {
        try withLedgerFolder { folder in
            let path = folder.file("a.ledger")
            try SQLiteLedger.create(path: path)
            let ids = (0..<2_000).map { UInt64($0) &* 0x9e37_79b9_7f4a_7c15 }
            try SQLiteDatabase.withDatabase(path: path, mode: .write, patience: 0) { database in
                let index = try IDIndex(database: database, seed: 7)
                try database.transaction {
                    try index.begin()
                    for (number, hash) in ids.enumerated() {
                        index.add(IDIndex.Entry(hash: hash, sequence: Int64(number)))
                    }
                    try index.finish()
                }
                try SQLiteDatabase.withDatabase(path: path, mode: .write, patience: 0) { other in
                    let prepared = try IDIndex(database: other, seed: 7)
                    try database.transaction { try prepared.prepare(toFind: 2_000) }
                    // The runs are in memory now: a look-up of what is not there reads none.
                    try database.execute("DELETE FROM main.id_chunks")
                    try other.reading {
                        try prepared.begin()
                        #expect(prepared.mayHold(ids[77]) == true)
                        let strange = (1...1_000).map { UInt64($0) &* 0xbf58_476d_1ce4_e5b9 }
                        #expect(strange.count { prepared.mayHold($0) != false } < 100)
                    }
                }
            }
        }
    }

    private struct Model {
        var entries: [UInt64: [Int64]] = [:]
        /// In the order in which they came: that of a dictionary differs from run to run.
        var hashes: [UInt64] = []
        var sequence: Int64 = 0
    }

    private struct Undone: Error {}

    private func step(
        _ index: IDIndex,
        _ database: SQLiteDatabase,
        _ model: inout Model,
        _ random: inout SeededRandom
    ) throws {
        let size = [1, 3, 200, 1_023, 1_024, 2_500, 6_000].randomElement(using: &random) ?? 1
        let isUndone = Int.random(in: 0..<8, using: &random) == 0
        var next = model
        do {
            try index.prepare(toFind: size)
            try database.transaction {
                try index.begin()
                for _ in 0..<size {
                    // Now and then a hash that is there already: two ids may share one.
                    let known = next.hashes.randomElement(using: &random)
                    let repeats = Int.random(in: 0..<20, using: &random) == 0
                    let hash = repeats ? known ?? 1 : random.next()
                    next.hashes.append(hash)
                    #expect(try index.find(hash).sorted() == next.entries[hash] ?? [])
                    next.sequence += 1
                    next.entries[hash, default: []].append(next.sequence)
                    index.add(IDIndex.Entry(hash: hash, sequence: next.sequence))
                }
                try index.finish()
                if isUndone { throw Undone() }
            }
            model = next
        } catch is Undone {
            index.undo()
        }
    }
}
