/// Reads all entries of the index of ids in the order of their hashes.
struct IDScan {
    private let database: SQLiteDatabase
    private let end: Int64
    private(set) var sum: UInt64 = 0
    private(set) var count = 0

    init(_ database: SQLiteDatabase, end: Int64) {
        self.database = database
        self.end = end
    }

    mutating func run(_ result: inout LedgerVerify) throws {
        let runs = try IDRun.all(in: database)
        checkRuns(runs, &result)
        var recent = try recentEntries()
        // Chunks of all runs that cover the same hashes come together.
        let bits = runs.map(\.prefixBits).max() ?? 0
        var cursors = try runs.map { try IDCursor($0, in: database) }
        for group in 0..<(UInt64(1) << UInt64(bits)) {
            let limit =
                bits == 0 ? UInt64.max : (group << UInt64(64 - bits)) | (.max >> UInt64(bits))
            var entries: [IDIndex.Entry] = []
            for index in cursors.indices {
                try cursors[index].take(through: limit, into: &entries)
            }
            while let next = recent.last, next.hash <= limit { entries.append(recent.removeLast()) }
            try check(entries.sorted { $0.hash < $1.hash }, &result)
        }
        for cursor in cursors where cursor.problem != nil || !cursor.isAtEnd {
            result.add(.ids, "a run of the index of ids \(cursor.problem ?? "is out of order")")
        }
        let chunks = try database.integer("SELECT count(*) FROM main.id_chunks") ?? 0
        guard chunks != cursors.reduce(0, { $0 + $1.chunks }) else { return }
        result.add(.ids, "the index of ids has chunks that belong to no run")
    }

    private func checkRuns(_ runs: [IDRun], _ result: inout LedgerVerify) {
        for run in runs {
            let target = run.mergedInto.map { number in runs.first { $0.number == number } }
            if let target, target?.mergedThrough == nil {
                result.add(.ids, "a run of the index of ids is merged into one that is not there")
            }
        }
    }

    /// In descending order.
    private func recentEntries() throws -> [IDIndex.Entry] {
        let statement = try database.prepare("SELECT hash, sequence FROM main.recent_ids")
        var entries: [IDIndex.Entry] = []
        while try statement.step() {
            entries.append(
                IDIndex.Entry(
                    hash: UInt64(bitPattern: statement.integer(0)),
                    sequence: statement.integer(1)
                )
            )
        }
        return entries.sorted { $0.hash > $1.hash }
    }

    private mutating func check(
        _ entries: [IDIndex.Entry],
        _ result: inout LedgerVerify
    ) throws {
        for (index, entry) in entries.enumerated() where entry.sequence <= end {
            sum &+= entry.digest
            count += 1
            guard index > 0, entries[index - 1].hash == entry.hash else { continue }
            let before = entries[index - 1].sequence
            guard try id(of: before) == id(of: entry.sequence) else { continue }
            result.add(
                .ids,
                "its id is that of event \(before), too",
                events: entry.sequence...entry.sequence
            )
        }
    }

    private func id(of sequence: Int64) throws -> [UInt8] {
        let statement = try database.prepare("SELECT id FROM main.events WHERE sequence = ?1")
        statement.bind(sequence, at: 1)
        return try statement.step() ? Array(statement.text(0)) : Array("\(sequence)".utf8)
    }
}

/// Reads the entries of a run.
private struct IDCursor {
    private let run: IDRun
    private let statement: SQLiteStatement
    private var entries: ArraySlice<IDIndex.Entry> = []
    private var isLast = false
    private var last: UInt64 = 0
    private var taken = 0
    private(set) var chunks: Int64 = 0
    /// What is wrong with the run, as a clause.
    private(set) var problem: String?

    init(_ run: IDRun, in database: SQLiteDatabase) throws {
        self.run = run
        statement = try database.prepare(
            "SELECT place, ids FROM main.id_chunks WHERE place >= ?1 AND place < ?2 ORDER BY place"
        )
        statement.bind(run.place(of: 0), at: 1)
        statement.bind(run.place(of: 0) + (1 << IDIndex.placeBits), at: 2)
    }

    var isAtEnd: Bool {
        guard isLast, entries.isEmpty else { return false }
        // One that is being merged, or was partly merged into another, has some of them.
        return run.mergedInto != nil || run.mergedThrough != nil || taken == run.ids
    }

    mutating func take(through limit: UInt64, into taken: inout [IDIndex.Entry]) throws {
        while try fill() {
            let fitting = entries.prefix { $0.hash <= limit }
            taken.append(contentsOf: fitting)
            entries = entries.dropFirst(fitting.count)
            self.taken += fitting.count
            guard entries.isEmpty else { return }
        }
    }

    private mutating func fill() throws -> Bool {
        while entries.isEmpty, !isLast {
            guard try statement.step() else {
                isLast = true
                break
            }
            chunks += 1
            let chunk = IDEntries(statement.blob(1))
            if !chunk.isWhole { problem = "has a chunk that is cut off" }
            entries = (0..<chunk.count).map { chunk[$0] }[...]
            let prefix = statement.integer(0) - run.place(of: 0)
            for entry in entries {
                if entry.hash < last || run.prefix(of: entry.hash) != prefix {
                    problem = "is out of order"
                }
                last = entry.hash
            }
        }
        return !entries.isEmpty
    }
}

extension IDIndex.Entry {
    /// A number that tells entries apart, to be summed.
    var digest: UInt64 {
        withUnsafeBytes(of: (hash.littleEndian, sequence.littleEndian)) { XXHash.of($0, seed: 1) }
    }
}
