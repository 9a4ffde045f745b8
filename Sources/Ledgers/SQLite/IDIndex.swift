internal import CXXHash

/// Finds the events of ids, in the same transaction as the events.
///
/// Ids are random where people use UUIDv4, and an index in their order would write as many pages as it
/// gets ids. So they are kept by hash in sorted runs that are written once, as a log-structured merge
/// tree keeps them (P. O'Neil et al., 1996): a large batch is a run of its own, small ones gather in
/// the table `recent_ids`, and eight runs of a size are merged into one, a little with each batch.
///
/// An entry is 16 bytes: hash and sequence, the least significant byte first. A run is split by the
/// first bits of the hash into chunks that fit a page, so that a look-up reads one page of each run.
/// Who looks up many ids first builds a filter in memory, 2 to 3 bytes an id, which answers for nearly
/// all ids that are not there.
///
/// Used by one thread, inside of write transactions.
final class IDIndex {
    /// An id's hash and its event's number.
    struct Entry: Equatable {
        let hash: UInt64
        let sequence: Int64
    }

    /// Entries that a chunk is meant to have at most: 16 bytes each, and some room for chance, in a
    /// page of 16 KiB.
    static let chunkEntries = 700
    /// Bits of a chunk's place that are not the run's number.
    static let placeBits: Int64 = 24

    private static let smallBatch = 1_024
    private static let mostRecent: Int64 = 8_192
    private static let fanIn = 8
    /// Look-ups for which a filter is never worth it.
    private static let fewLookups = 500

    private let database: SQLiteDatabase
    private let seed: UInt64
    private let findChunk: SQLiteStatement
    private let findRecent: SQLiteStatement
    private let insertRecent: SQLiteStatement
    private let insertChunk: SQLiteStatement
    private var runs: [IDRun] = []
    private var filter: IDFilter?
    private var lookups = 0
    private var hasRecent = false
    /// What is added in this transaction, by hash.
    private var added: [UInt64: Int64] = [:]
    /// What shares its hash with another one of this transaction.
    private var addedBeside: [Entry] = []

    init(database: SQLiteDatabase, seed: Int64) throws {
        self.database = database
        self.seed = UInt64(bitPattern: seed)
        findChunk = try database.prepare("SELECT ids FROM main.id_chunks WHERE place = ?1")
        findRecent = try database.prepare("SELECT sequence FROM main.recent_ids WHERE hash = ?1")
        insertRecent = try database.prepare(
            "INSERT INTO main.recent_ids (hash, sequence) VALUES (?1, ?2)"
        )
        insertChunk = try database.prepare(
            "INSERT INTO main.id_chunks (place, ids) VALUES (?1, ?2)"
        )
    }

    /// The hash of an id in this ledger.
    static func hash(_ id: UnsafeRawBufferPointer, seed: Int64) -> UInt64 {
        XXHash.of(id, seed: UInt64(bitPattern: seed))
    }

    func hash(_ id: UnsafeRawBufferPointer) -> UInt64 { XXHash.of(id, seed: seed) }

    /// Reads what looking up so many ids takes, before the transaction in which they are looked up: it
    /// can take seconds, for which nobody else waits.
    func prepare(toFind ids: Int) throws {
        lookups += ids
        guard ids > 0, filter != nil || lookups > Self.fewLookups else { return }
        try database.reading {
            let runs = try IDRun.all(in: database)
            let entries = runs.map(\.ids).reduce(0, +)
            if filter?.isFull(with: runs) != false {
                // A look-up costs a page of each run, and the filter a reading of all: measured at 5
                // million ids.
                guard lookups > Self.fewLookups + entries / 2_000 else { return }
                filter = IDFilter(capacity: entries * 3 / 2)
            }
            try filter?.learn(runs, in: database)
        }
    }

    /// Begins a transaction: others may have written since the last one.
    func begin() throws {
        forgetAdded()
        runs = try IDRun.all(in: database)
        hasRecent = try database.integer("SELECT 1 FROM main.recent_ids LIMIT 1") != nil
        guard let filter else { return }
        if hasRecent { try flushRecent(above: 0) }
        try filter.learn(runs, in: database)
    }

    /// Forgets what was added in a transaction that is undone.
    func undo() {
        forgetAdded()
        // It may know runs that do not exist.
        filter = nil
    }

    private func forgetAdded() {
        added.removeAll(keepingCapacity: true)
        addedBeside.removeAll()
    }

    /// The numbers of the events whose ids have a hash.
    func find(_ hash: UInt64) throws -> [Int64] {
        var found: [Int64] = []
        if let sequence = added[hash] {
            found.append(sequence)
            for entry in addedBeside where entry.hash == hash { found.append(entry.sequence) }
        }
        if mayHold(hash) != false {
            for run in runs { try run.find(hash, by: findChunk, into: &found) }
        }
        if hasRecent {
            findRecent.bind(Int64(bitPattern: hash), at: 1)
            defer { findRecent.reset() }
            while try findRecent.step() { found.append(findRecent.integer(0)) }
        }
        return found
    }

    /// Whether a run may have a hash; nil where no filter is in memory.
    func mayHold(_ hash: UInt64) -> Bool? { filter?.mayHold(hash) }

    /// Notes the id of an event that was stored.
    func add(_ entry: Entry) {
        if added[entry.hash] == nil {
            added[entry.hash] = entry.sequence
        } else {
            addedBeside.append(entry)
        }
    }

    /// Ends a transaction: writes what was added, and merges a little.
    func finish() throws {
        guard !added.isEmpty else { return }
        let entries = added.map { Entry(hash: $0.key, sequence: $0.value) } + addedBeside
        if entries.count < Self.smallBatch {
            for entry in entries {
                insertRecent.bind(Int64(bitPattern: entry.hash), at: 1)
                insertRecent.bind(entry.sequence, at: 2)
                try insertRecent.run()
            }
            try flushRecent(above: Self.mostRecent)
        } else {
            try write(entries)
        }
        try merge(budget: entries.count * 8 + 4_096)
    }

    /// Makes a run of the newest ids, where there are more than so many.
    private func flushRecent(above most: Int64) throws {
        guard let count = try database.integer("SELECT count(*) FROM main.recent_ids"), count > most
        else { return }
        let statement = try database.prepare("SELECT hash, sequence FROM main.recent_ids")
        var entries: [Entry] = []
        while try statement.step() {
            entries.append(
                Entry(
                    hash: UInt64(bitPattern: statement.integer(0)),
                    sequence: statement.integer(1)
                )
            )
        }
        try database.execute("DELETE FROM main.recent_ids")
        hasRecent = false
        try write(entries)
    }

    /// Writes a run of its own.
    private func write(_ unsorted: [Entry]) throws {
        let entries = unsorted.sorted { $0.hash < $1.hash }
        let run = IDRun(
            number: (runs.map(\.number).max() ?? 0) + 1,
            prefixBits: IDRun.prefixBits(for: entries.count),
            ids: entries.count
        )
        try run.insert(entries[...], by: insertChunk)
        try run.record(in: database)
        runs.append(run)
        filter?.add(entries, of: run)
    }

    private func merge(budget: Int) throws {
        try beginMerges()
        var left = budget
        // The small ones first: they are many.
        for merge in runs.filter({ $0.mergedThrough != nil }).sorted(by: { $0.number < $1.number })
        {
            guard left > 0 else { break }
            left -= try IDMerge(merge, of: runs, in: database).proceed(left, by: insertChunk)
            filter?.note(merge, of: runs)
        }
        runs = try IDRun.all(in: database)
    }

    /// Where there are eight runs of a size they become one.
    private func beginMerges() throws {
        let whole = runs.filter { $0.mergedInto == nil && $0.mergedThrough == nil }
        for (_, inputs) in Dictionary(grouping: whole, by: \.level) where inputs.count >= Self.fanIn
        {
            let ids = inputs.map(\.ids).reduce(0, +)
            var output = IDRun(
                number: (runs.map(\.number).max() ?? 0) + 1,
                prefixBits: IDRun.prefixBits(for: ids),
                ids: 0
            )
            output.mergedThrough = -1
            try output.record(in: database)
            for index in runs.indices
            where inputs.contains(where: { $0.number == runs[index].number }) {
                runs[index].mergedInto = output.number
                try runs[index].record(in: database)
            }
            runs.append(output)
        }
    }
}
