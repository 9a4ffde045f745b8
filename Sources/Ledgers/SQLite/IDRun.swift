/// A sorted run of ids.
struct IDRun: Equatable {
    let number: Int64
    /// How many first bits of a hash tell its chunk.
    let prefixBits: Int
    /// Entries; 0 while it is still being merged.
    var ids: Int
    /// The run that it is being merged into; nil for one that stays.
    var mergedInto: Int64?
    /// For a run that is being merged: the last group of chunks that it has, -1 for none.
    var mergedThrough: Int64?

    init(number: Int64, prefixBits: Int, ids: Int) {
        self.number = number
        self.prefixBits = prefixBits
        self.ids = ids
    }

    /// Runs of a level are merged with each other: each level is eight times as large.
    var level: Int {
        var (level, size) = (0, ids / 8_192)
        while size > 0 {
            level += 1
            size /= 8
        }
        return level
    }

    static func prefixBits(for ids: Int) -> Int {
        var bits = 0
        while ids >> bits > IDIndex.chunkEntries { bits += 1 }
        return min(bits, Int(IDIndex.placeBits))
    }

    static func all(in database: SQLiteDatabase) throws -> [IDRun] {
        let statement = try database.prepare(
            "SELECT run, prefix_bits, ids, merged_into, merged_through FROM main.id_runs ORDER BY run"
        )
        var runs: [IDRun] = []
        while try statement.step() {
            let bits = statement.integer(1)
            guard (0...IDIndex.placeBits).contains(bits) else {
                throw LedgerError.damaged(
                    path: database.path,
                    reason: "a run of the index of ids has chunks of \(bits) bits"
                )
            }
            var run = IDRun(
                number: statement.integer(0),
                prefixBits: Int(bits),
                ids: Int(statement.integer(2))
            )
            run.mergedInto = statement.isNull(3) ? nil : statement.integer(3)
            run.mergedThrough = statement.isNull(4) ? nil : statement.integer(4)
            runs.append(run)
        }
        return runs
    }

    func record(in database: SQLiteDatabase) throws {
        let statement = try database.prepare(
            """
            INSERT OR REPLACE INTO main.id_runs (run, prefix_bits, ids, merged_into, merged_through)
            VALUES (?1, ?2, ?3, ?4, ?5)
            """
        )
        statement.bind(number, at: 1)
        statement.bind(Int64(prefixBits), at: 2)
        statement.bind(Int64(ids), at: 3)
        if let mergedInto { statement.bind(mergedInto, at: 4) } else { statement.bindNull(at: 4) }
        if let mergedThrough {
            statement.bind(mergedThrough, at: 5)
        } else {
            statement.bindNull(at: 5)
        }
        try statement.run()
    }

    /// The chunk that has a hash.
    func prefix(of hash: UInt64) -> Int64 {
        prefixBits == 0 ? 0 : Int64(hash >> UInt64(64 - prefixBits))
    }

    func place(of prefix: Int64) -> Int64 { number << IDIndex.placeBits | prefix }

    /// Adds the numbers of the events whose ids have a hash.
    func find(_ hash: UInt64, by statement: SQLiteStatement, into found: inout [Int64]) throws {
        statement.bind(place(of: prefix(of: hash)), at: 1)
        defer { statement.reset() }
        guard try statement.step() else { return }
        let entries = IDEntries(statement.blob(0))
        var index = entries.firstIndex(of: hash)
        while index < entries.count, entries[index].hash == hash {
            found.append(entries[index].sequence)
            index += 1
        }
    }

    /// Stores entries that are sorted by hash, in chunks that are not there yet.
    func insert(_ entries: ArraySlice<IDIndex.Entry>, by statement: SQLiteStatement) throws {
        var rest = entries
        var bytes: [UInt8] = []
        while let first = rest.first {
            let prefix = prefix(of: first.hash)
            let chunk = rest.prefix { self.prefix(of: $0.hash) == prefix }
            rest = rest.dropFirst(chunk.count)
            bytes.removeAll(keepingCapacity: true)
            for entry in chunk {
                withUnsafeBytes(of: (entry.hash.littleEndian, entry.sequence.littleEndian)) {
                    bytes.append(contentsOf: $0)
                }
            }
            try bytes.withUnsafeBytes {
                statement.bind(place(of: prefix), at: 1)
                statement.bind(blob: $0, at: 2)
                try statement.run()
            }
        }
    }

    /// Calls `body` with each chunk of some, in order.
    func forEachChunk(
        in prefixes: Range<Int64>,
        of database: SQLiteDatabase,
        _ body: (_ prefix: Int64, IDEntries) throws -> Void
    ) throws {
        let statement = try database.prepare(
            "SELECT place, ids FROM main.id_chunks WHERE place >= ?1 AND place < ?2 ORDER BY place"
        )
        statement.bind(place(of: 0) + prefixes.lowerBound, at: 1)
        statement.bind(place(of: 0) + prefixes.upperBound, at: 2)
        while try statement.step() {
            try body(statement.integer(0) - place(of: 0), IDEntries(statement.blob(1)))
        }
    }

    /// All chunks that it can have.
    var prefixes: Range<Int64> { 0..<(1 << Int64(prefixBits)) }
}

/// The entries of a chunk, where they lie.
struct IDEntries {
    private let bytes: UnsafeRawBufferPointer

    init(_ bytes: UnsafeRawBufferPointer) {
        self.bytes = bytes
    }

    /// Whether the bytes are entries to the end.
    var isWhole: Bool { bytes.count % 16 == 0 }
    var count: Int { bytes.count / 16 }

    subscript(_ index: Int) -> IDIndex.Entry {
        IDIndex.Entry(
            hash: UInt64(
                littleEndian: bytes.loadUnaligned(fromByteOffset: index * 16, as: UInt64.self)
            ),
            sequence: Int64(
                littleEndian: bytes.loadUnaligned(fromByteOffset: index * 16 + 8, as: Int64.self)
            )
        )
    }

    /// The first entry whose hash is not lower.
    func firstIndex(of hash: UInt64) -> Int {
        var (low, high) = (0, count)
        while low < high {
            let middle = (low + high) / 2
            if self[middle].hash < hash { low = middle + 1 } else { high = middle }
        }
        return low
    }
}

/// Merges runs into one, group by group of chunks: what is merged is taken away from the runs it came
/// from, so that a look-up in all runs finds every id once, however far it is.
struct IDMerge {
    private var output: IDRun
    private let inputs: [IDRun]
    private let database: SQLiteDatabase

    init(_ output: IDRun, of runs: [IDRun], in database: SQLiteDatabase) {
        self.output = output
        inputs = runs.filter { $0.mergedInto == output.number }
        self.database = database
    }

    /// Merges about so many entries.
    ///
    /// - Returns: How many there were.
    func proceed(_ budget: Int, by insert: SQLiteStatement) throws -> Int {
        var output = output
        var done = 0
        // A group is what the run with the largest chunks has in one of them.
        let bits = min(output.prefixBits, inputs.map(\.prefixBits).min() ?? 0)
        let groups: Int64 = 1 << Int64(bits)
        let delete = try database.prepare(
            "DELETE FROM main.id_chunks WHERE place >= ?1 AND place < ?2"
        )
        var group = (output.mergedThrough ?? -1) + 1
        while group < groups, done < budget {
            var entries: [IDIndex.Entry] = []
            for input in inputs {
                let shift = Int64(input.prefixBits - bits)
                let prefixes = (group << shift)..<((group + 1) << shift)
                var run: [IDIndex.Entry] = []
                try input.forEachChunk(in: prefixes, of: database) { _, chunk in
                    for index in 0..<chunk.count { run.append(chunk[index]) }
                }
                entries = Self.merged(entries, run)
                delete.bind(input.place(of: prefixes.lowerBound), at: 1)
                delete.bind(input.place(of: 0) + prefixes.upperBound, at: 2)
                try delete.run()
            }
            try output.insert(entries[...], by: insert)
            done += entries.count
            output.mergedThrough = group
            group += 1
        }
        if group == groups {
            output.ids = inputs.map(\.ids).reduce(0, +)
            output.mergedThrough = nil
            try database.execute("DELETE FROM main.id_runs WHERE merged_into = \(output.number)")
        }
        try output.record(in: database)
        return done
    }

    private static func merged(
        _ left: [IDIndex.Entry],
        _ right: [IDIndex.Entry]
    ) -> [IDIndex.Entry] {
        if left.isEmpty { return right }
        var result: [IDIndex.Entry] = []
        result.reserveCapacity(left.count + right.count)
        var (l, r) = (0, 0)
        while l < left.count, r < right.count {
            if right[r].hash < left[l].hash {
                result.append(right[r])
                r += 1
            } else {
                result.append(left[l])
                l += 1
            }
        }
        result.append(contentsOf: left[l...])
        result.append(contentsOf: right[r...])
        return result
    }
}

/// Says of most hashes that they are in no run.
///
/// A filter as B. H. Bloom describes it (1970); each hash sets four bits of one word (F. Putze et al.,
/// 2007).
final class IDFilter {
    /// Each look-up that it lets pass in vain reads a page of every run.
    private static let bitsPerID = 16

    /// How many it can hold before more and more pass.
    private let capacity: Int
    private var count = 0
    private var words: [UInt64]
    private var known: Set<Int64> = []

    init(capacity: Int) {
        self.capacity = max(capacity, 1 << 16)
        words = Array(repeating: 0, count: self.capacity * Self.bitsPerID / 64)
    }

    func mayHold(_ hash: UInt64) -> Bool {
        let mask = Self.mask(hash)
        return words[index(hash)] & mask == mask
    }

    /// Whether it is too small for what it holds and the runs that it does not know.
    func isFull(with runs: [IDRun]) -> Bool {
        count + runs.reduce(0) { $0 + (known.contains($1.number) ? 0 : $1.ids) } > capacity
    }

    /// Reads the runs that it does not know.
    func learn(_ runs: [IDRun], in database: SQLiteDatabase) throws {
        for run in runs where !known.contains(run.number) {
            try run.forEachChunk(in: run.prefixes, of: database) { _, entries in
                for index in 0..<entries.count { add(entries[index].hash) }
            }
            // One that is being merged gets nothing that its inputs had not.
            known.insert(run.number)
        }
    }

    /// A run that was just written.
    func add(_ entries: [IDIndex.Entry], of run: IDRun) {
        for entry in entries { add(entry.hash) }
        known.insert(run.number)
    }

    /// A run that is merged from others has nothing that they had not.
    func note(_ merge: IDRun, of runs: [IDRun]) {
        let inputs = runs.filter { $0.mergedInto == merge.number }
        if inputs.allSatisfy({ known.contains($0.number) }) { known.insert(merge.number) }
    }

    private func add(_ hash: UInt64) {
        words[index(hash)] |= Self.mask(hash)
        count += 1
    }

    private func index(_ hash: UInt64) -> Int {
        Int(hash.multipliedFullWidth(by: UInt64(words.count)).high)
    }

    private static func mask(_ hash: UInt64) -> UInt64 {
        (1 << (hash & 63)) | (1 << (hash >> 6 & 63)) | (1 << (hash >> 12 & 63))
            | (1 << (hash >> 18 & 63))
    }
}
