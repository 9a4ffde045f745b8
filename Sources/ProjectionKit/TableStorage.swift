// Invariants:
//
//   * a slot is 0 (free), or low 32 bits of the key's hash << 32 | (row index + 1)
//   * a row's home is the slot its 32 bits name; probing from there is linear and removal shifts
//     back, so a lookup ends at the first free slot
//   * slots.count is a power of two and at most 70 % of the slots are taken
//   * `access` is initialized exactly between the begin and the end of one access or change, of
//     which a table has one at a time
//   * a row index below `end` is vacant exactly when its bit in `vacantBits` is set, and then it
//     stands once in `vacancies`
//
// Rows stand in chunks that never move, so growing copies 8 bytes a row and not the rows. Keys are
// not stored twice: the index knows 32 bits of the hash, which is all that growing and removing
// need, and asks the row for the rest. Memory per row: the row, and 11 to 23 bytes of index.
//
// The class is reached only through a `RowTable`, whose own exclusivity is enforced; enforcing it for
// each property once more took 13 % of a fold.

/// The rows of a ``RowTable`` and the index over their keys.
///
/// `@unchecked Sendable`: a `RowTable` changes rows only while it holds the one reference to its
/// storage, and makes a copy first when it does not. A journal also notes what was asked for in vain,
/// which a look-up changes: only the thread that folds asks a table with a journal.
@usableFromInline
final class TableStorage<Row: TableRow>: TableActivity, @unchecked Sendable {
    @exclusivity(unchecked) @usableFromInline var count = 0
    @exclusivity(unchecked) @usableFromInline var end = 0
    @exclusivity(unchecked) @usableFromInline var chunks:
        ContiguousArray<UnsafeMutablePointer<Row>> = []
    @exclusivity(unchecked) @usableFromInline var slots: ContiguousArray<UInt64>
    @exclusivity(unchecked) @usableFromInline var vacancies: [Int] = []
    @exclusivity(unchecked) @usableFromInline var vacantBits: [UInt64] = []
    /// Its changes, where somebody wants to know them.
    @exclusivity(unchecked) @usableFromInline var journal: TableJournal<Row>?
    /// The texts in its keys.
    @usableFromInline let texts: KeyTexts?
    /// Where a row stands while a reducer has hold of it.
    @usableFromInline let access: UnsafeMutablePointer<Access>

    /// What is known of a row that a reducer has hold of.
    ///
    /// It stands here and not in the frame of the accessor, because a frame of more than four words
    /// is allocated on the heap, once for each access.
    @usableFromInline
    struct Access {
        /// The row; nil when there is none.
        @usableFromInline var row: Row?
        @usableFromInline let key: Row.Key
        @usableFromInline let hash: UInt32
        /// Where the row was taken from; nil when there was none.
        @usableFromInline let index: Int?

        @inlinable
        init(row: consuming Row?, key: Row.Key, hash: UInt32, index: Int?) {
            self.row = row
            self.key = key
            self.hash = hash
            self.index = index
        }
    }

    @inlinable static var chunkShift: Int { 10 }

    @inlinable
    override convenience init() { self.init(slotCount: 16, texts: KeyTexts.of(Row.Key.self)) }

    @inlinable
    init(slotCount: Int, texts: KeyTexts?) {
        self.texts = texts
        slots = ContiguousArray(repeating: 0, count: slotCount)
        access = .allocate(capacity: 1)
        super.init()
    }

    @inlinable
    deinit {
        access.deallocate()
        forEachIndex { pointer(at: $0).deinitialize(count: 1) }
        for chunk in chunks { chunk.deallocate() }
    }

    @inlinable
    func copy() -> TableStorage {
        let twin = TableStorage(slotCount: 0, texts: texts)
        twin.count = count
        twin.end = end
        twin.slots = slots
        twin.vacancies = vacancies
        twin.vacantBits = vacantBits
        twin.journal = journal?.copy()
        for _ in chunks { twin.addChunk() }
        forEachIndex { twin.pointer(at: $0).initialize(to: pointer(at: $0).pointee) }
        return twin
    }

    @inlinable
    func pointer(at index: Int) -> UnsafeMutablePointer<Row> {
        chunks[index >> Self.chunkShift] + (index & (1 << Self.chunkShift - 1))
    }

    /// The row index of a key for a reducer, which is told nil as well when the row is not held; the
    /// journal knows then that the answer may be wrong.
    @inlinable
    func find(_ key: Row.Key, hash: UInt32) -> Int? {
        let found = index(of: key, hash: hash)
        if found == nil, let journal { journal.miss(key) }
        return found
    }

    /// The row index of a key; nil when no such row is held.
    @inlinable
    func index(of key: Row.Key, hash: UInt32) -> Int? {
        var slot = Int(hash) & (slots.count - 1)
        while true {
            let entry = slots[slot]
            if entry == 0 { return nil }
            if entry >> 32 == hash {
                let index = Int(entry & 0xffff_ffff) - 1
                if isSame(pointer(at: index).pointee.key, as: key) { return index }
            }
            slot = (slot + 1) & (slots.count - 1)
        }
    }

    /// Takes the row of a key out, for a reducer to change, replace or remove it.
    @inlinable
    func beginAccess(to key: Row.Key) -> UnsafeMutablePointer<Access> {
        let hash = hash(key)
        let found = find(key, hash: hash)
        let row = found.map { pointer(at: $0).move() }
        if let journal { journal.note(row, for: key) }
        access.initialize(to: Access(row: row, key: key, hash: hash, index: found))
        return access
    }

    /// Puts the row back, or inserts it where there was none; nil removes it.
    @inlinable
    func endAccess() {
        let access = access.move()
        put(access.row, key: access.key, hash: access.hash, at: access.index)
    }

    /// Puts a row that was moved out of `index` back, or inserts it where there was none; nil
    /// removes it.
    @inlinable
    func put(_ row: consuming Row?, key: Row.Key, hash: UInt32, at index: Int?) {
        guard let row else {
            if let index { remove(hash: hash, at: index) }
            return
        }
        assertKey(of: row, is: key)
        if let index {
            changes &+= 1
            pointer(at: index).initialize(to: row)
        } else {
            insert(row, hash: hash)
        }
    }

    /// Finds the row of a key, for a reducer to change it where it stands; nil when there is none,
    /// and ``insertForChange(_:)`` has to follow.
    @inlinable
    func beginChange(of key: Row.Key) -> UnsafeMutablePointer<Row>? {
        let hash = hash(key)
        let found = find(key, hash: hash)
        if let journal { journal.note(found.map { pointer(at: $0).pointee }, for: key) }
        access.initialize(to: Access(row: nil, key: key, hash: hash, index: found))
        return found.map { pointer(at: $0) }
    }

    /// Inserts the row of the change that has begun.
    @inlinable
    func insertForChange(_ row: Row) -> UnsafeMutablePointer<Row> {
        assertKey(of: row, is: access.pointee.key)
        return pointer(at: insert(row, hash: access.pointee.hash))
    }

    /// Ends a change for which there was no row.
    @inlinable
    func cancelChange() { access.deinitialize(count: 1) }

    /// Ends the change of a row.
    @inlinable
    func endChange(of row: UnsafeMutablePointer<Row>) {
        changes &+= 1
        assertKey(of: row.pointee, is: access.move().key)
    }

    @inlinable
    func assertKey(of row: Row, is key: Row.Key) {
        if isSame(row.key, as: key) || noteFault(of: key) { return }
        trapForStrayRow()
    }

    /// With the sentence in a release build as well.
    @usableFromInline
    func trapForStrayRow() -> Never {
        fatalError("table '\(Row.table.name)': a row was stored under another key")
    }

    /// Notes a key that is not equal to itself.
    ///
    /// - Returns: Whether it is one.
    @inlinable
    @discardableResult
    func noteFault(of key: Row.Key) -> Bool {
        guard !isSame(key, as: key) else { return false }
        KeyFaults.note(table: Row.table.name)
        return true
    }

    /// Calls `body` with the index of each row, ascending.
    @inlinable
    func forEachIndex(_ body: (Int) throws -> Void) rethrows {
        for index in 0..<end where !isVacant(index) { try body(index) }
    }

    /// Calls `body` with the rows of a range, a chunk at a time, and adds up what it returns.
    func withSegments(
        of range: Range<Int>,
        _ body: (RowSegment) throws -> Int
    ) rethrows -> Int {
        var sum = 0
        var next = range.lowerBound
        while next < range.upperBound {
            let end = min((next >> Self.chunkShift + 1) << Self.chunkShift, range.upperBound)
            sum += try body(
                RowSegment(
                    start: UnsafeRawPointer(pointer(at: next)),
                    stride: MemoryLayout<Row>.stride,
                    indexes: next..<end,
                    vacantBits: vacantBits
                )
            )
            next = end
        }
        return sum
    }

    @inlinable
    func isVacant(_ index: Int) -> Bool {
        guard index >> 6 < vacantBits.count else { return false }
        return vacantBits[index >> 6] & (1 << UInt64(index & 63)) != 0
    }

    @inlinable
    func hash(_ key: Row.Key) -> UInt32 { KeyHash.hash(key, texts) }

    @inlinable
    func isSame(_ key: Row.Key, as other: Row.Key) -> Bool { KeyHash.areSame(key, other, texts) }

    /// Inserts the row of a key that has none.
    ///
    /// - Returns: Where it stands.
    @inlinable
    @discardableResult
    func insert(_ row: consuming Row, hash: UInt32) -> Int {
        changes &+= 1
        if (count + 1) * 10 > slots.count * 7 { growSlots() }
        let index = takeIndex()
        pointer(at: index).initialize(to: row)
        place(UInt64(hash) << 32 | UInt64(index + 1))
        count += 1
        return index
    }

    /// Takes over all rows of another table, which is empty after it.
    ///
    /// The rows stay where they are and only their chunks change hands; the rows of one table follow
    /// those of the other.
    ///
    /// - Returns: False, and nothing is done, when the two have a row of the same key.
    func absorb(_ other: TableStorage) -> Bool {
        guard other.slots.allSatisfy({ $0 == 0 || isNew($0, of: other) }) else { return false }
        let base = chunks.count << Self.chunkShift
        precondition(base + other.end < 0xffff_fffe, "two tables hold 4 billion rows")
        for index in end..<base { leaveVacant(index) }
        for index in other.vacancies { leaveVacant(base + index) }
        chunks += other.chunks
        end = base + other.end
        count += other.count
        while count * 10 > slots.count * 7 { growSlots() }
        for entry in other.slots where entry != 0 { place(entry + UInt64(base)) }
        other.chunks = []
        other.slots = ContiguousArray(repeating: 0, count: 16)
        (other.count, other.end, other.vacancies, other.vacantBits) = (0, 0, [], [])
        return true
    }

    private func isNew(_ entry: UInt64, of other: TableStorage) -> Bool {
        let hash = UInt32(entry >> 32)
        var slot = Int(hash) & (slots.count - 1)
        while slots[slot] != 0 {
            // Only a row with the same 32 bits of hash is worth a look at its key.
            if slots[slot] >> 32 == UInt64(hash) {
                let key = other.pointer(at: Int(entry & 0xffff_ffff) - 1).pointee.key
                return index(of: key, hash: hash) == nil
            }
            slot = (slot + 1) & (slots.count - 1)
        }
        return true
    }

    @inlinable
    func place(_ entry: UInt64) {
        var slot = home(of: entry)
        while slots[slot] != 0 { slot = (slot + 1) & (slots.count - 1) }
        slots[slot] = entry
    }

    @inlinable
    func home(of entry: UInt64) -> Int { Int(entry >> 32) & (slots.count - 1) }

    @inlinable
    func takeIndex() -> Int {
        if let index = vacancies.popLast() {
            vacantBits[index >> 6] &= ~(1 << UInt64(index & 63))
            return index
        }
        precondition(end < 0xffff_fffe, "table '\(Row.table.name)' holds 4 billion rows")
        if end >> Self.chunkShift == chunks.count { addChunk() }
        end += 1
        return end - 1
    }

    @inlinable
    func addChunk() {
        chunks.append(.allocate(capacity: 1 << Self.chunkShift))
    }

    @inlinable
    func growSlots() {
        let entries = slots
        slots = ContiguousArray(repeating: 0, count: entries.count * 2)
        for entry in entries where entry != 0 { place(entry) }
    }

    /// Takes a row that was already moved out of `index` off the index.
    @inlinable
    func remove(hash: UInt32, at index: Int) {
        changes &+= 1
        let mask = slots.count - 1
        var hole = Int(hash) & mask
        while Int(slots[hole] & 0xffff_ffff) != index + 1 { hole = (hole + 1) & mask }
        slots[hole] = 0
        var slot = (hole + 1) & mask
        while slots[slot] != 0 {
            if (slot - home(of: slots[slot])) & mask >= (slot - hole) & mask {
                slots[hole] = slots[slot]
                slots[slot] = 0
                hole = slot
            }
            slot = (slot + 1) & mask
        }
        leaveVacant(index)
        count -= 1
    }

    /// Leaves the place of a row to the next new one.
    @inlinable
    func leaveVacant(_ index: Int) {
        while vacantBits.count <= index >> 6 { vacantBits.append(0) }
        vacantBits[index >> 6] |= 1 << UInt64(index & 63)
        vacancies.append(index)
    }
}
