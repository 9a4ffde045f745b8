// Invariants:
//
//   * a slot is 0 (free), or high 32 bits of the key's hash << 32 | (row index + 1)
//   * probing is linear and removal shifts back, so a lookup ends at the first free slot
//   * slots.count is a power of two and at most 70 % of the slots are taken
//   * a row index below `end` is vacant exactly when its bit in `vacantBits` is set, and then it
//     stands once in `vacancies`
//
// Rows stand in chunks that never move, so growing copies 8 bytes a row and not the rows. Keys are
// not stored twice: the index knows 32 bits of the hash and asks the row for the rest. Memory per
// row: the row, and 11 to 23 bytes of index.

/// The rows of a ``Table`` and the index over their keys.
///
/// `@unchecked Sendable`: a `Table` changes its storage only while it holds the one reference to
/// it, and makes a copy first when it does not.
@usableFromInline
final class TableStorage<Row: TableRow>: @unchecked Sendable {
    @usableFromInline var count = 0
    @usableFromInline var end = 0
    @usableFromInline var chunks: ContiguousArray<UnsafeMutablePointer<Row>> = []
    @usableFromInline var slots: ContiguousArray<UInt64>
    @usableFromInline var vacancies: [Int] = []
    @usableFromInline var vacantBits: [UInt64] = []

    @inlinable static var chunkShift: Int { 10 }

    @usableFromInline
    init(slotCount: Int = 16) {
        slots = ContiguousArray(repeating: 0, count: slotCount)
    }

    deinit {
        forEachIndex { pointer(at: $0).deinitialize(count: 1) }
        for chunk in chunks { chunk.deallocate() }
    }

    @usableFromInline
    func copy() -> TableStorage {
        let twin = TableStorage(slotCount: 0)
        twin.count = count
        twin.end = end
        twin.slots = slots
        twin.vacancies = vacancies
        twin.vacantBits = vacantBits
        for _ in chunks { twin.addChunk() }
        forEachIndex { twin.pointer(at: $0).initialize(to: pointer(at: $0).pointee) }
        return twin
    }

    @inlinable
    func pointer(at index: Int) -> UnsafeMutablePointer<Row> {
        chunks[index >> Self.chunkShift] + (index & (1 << Self.chunkShift - 1))
    }

    /// The row index of a key; nil when there is no such row.
    @inlinable
    func index(of key: Row.Key) -> Int? {
        let hash = Self.hash(key)
        var slot = Int(truncatingIfNeeded: hash) & (slots.count - 1)
        while true {
            let entry = slots[slot]
            if entry == 0 { return nil }
            if entry >> 32 == hash >> 32 {
                let index = Int(entry & 0xffff_ffff) - 1
                if pointer(at: index).pointee.key == key { return index }
            }
            slot = (slot + 1) & (slots.count - 1)
        }
    }

    /// Puts a row that was moved out of `index` back, or inserts it where there was none; nil
    /// removes it.
    @inlinable
    func put(_ row: consuming Row?, key: Row.Key, at index: Int?) {
        guard let row else {
            if let index { remove(key, at: index) }
            return
        }
        precondition(row.key == key, "table '\(Row.table.name)': a row was stored under another key")
        if let index {
            pointer(at: index).initialize(to: row)
        } else {
            insert(row, key: key)
        }
    }

    /// Calls `body` with the index of each row, ascending.
    @inlinable
    func forEachIndex(_ body: (Int) throws -> Void) rethrows {
        for index in 0..<end where !isVacant(index) { try body(index) }
    }

    @inlinable
    func isVacant(_ index: Int) -> Bool {
        guard index >> 6 < vacantBits.count else { return false }
        return vacantBits[index >> 6] & (1 << UInt64(index & 63)) != 0
    }

    @inlinable
    static func hash(_ key: Row.Key) -> UInt64 {
        UInt64(truncatingIfNeeded: key.hashValue)
    }

    @inlinable
    func insert(_ row: consuming Row, key: Row.Key) {
        if (count + 1) * 10 > slots.count * 7 { growSlots() }
        let index = takeIndex()
        pointer(at: index).initialize(to: row)
        place(hash: Self.hash(key), index: index)
        count += 1
    }

    @inlinable
    func place(hash: UInt64, index: Int) {
        var slot = Int(truncatingIfNeeded: hash) & (slots.count - 1)
        while slots[slot] != 0 { slot = (slot + 1) & (slots.count - 1) }
        slots[slot] = (hash >> 32) << 32 | UInt64(index + 1)
    }

    @usableFromInline
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

    func addChunk() {
        chunks.append(.allocate(capacity: 1 << Self.chunkShift))
    }

    @usableFromInline
    func growSlots() {
        slots = ContiguousArray(repeating: 0, count: slots.count * 2)
        forEachIndex { place(hash: Self.hash(pointer(at: $0).pointee.key), index: $0) }
    }

    /// Takes the key of a row that was already moved out of `index` off the index.
    @usableFromInline
    func remove(_ key: Row.Key, at index: Int) {
        let mask = slots.count - 1
        var hole = Int(truncatingIfNeeded: Self.hash(key)) & mask
        while Int(slots[hole] & 0xffff_ffff) != index + 1 { hole = (hole + 1) & mask }
        slots[hole] = 0
        var slot = (hole + 1) & mask
        while slots[slot] != 0 {
            let other = Int(slots[slot] & 0xffff_ffff) - 1
            let home = Int(truncatingIfNeeded: Self.hash(pointer(at: other).pointee.key)) & mask
            if (slot - home) & mask >= (slot - hole) & mask {
                slots[hole] = slots[slot]
                slots[slot] = 0
                hole = slot
            }
            slot = (slot + 1) & mask
        }
        while vacantBits.count <= index >> 6 { vacantBits.append(0) }
        vacantBits[index >> 6] |= 1 << UInt64(index & 63)
        vacancies.append(index)
        count -= 1
    }
}
