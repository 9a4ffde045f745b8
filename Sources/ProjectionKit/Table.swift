/// The rows of one table while a projection folds: looked up, changed and counted by key.
///
/// A value type with copy on write. Rows keep the order in which they were first inserted; a
/// removed row's place goes to the next new one.
public struct Table<Row: TableRow>: Sendable {
    /// Who the rows are for.
    public enum Audience: Sendable {
        /// Readers: the rows are loaded.
        case readers
        /// The reducer alone: working state that is never written to PostgreSQL.
        case reducer
    }

    /// Who the rows are for.
    public let audience: Audience

    @usableFromInline var storage: TableStorage<Row>

    /// An empty table.
    ///
    /// - Parameter audience: `.reducer` for working state that readers must not see.
    @inlinable
    public init(_ audience: Audience = .readers) {
        self.audience = audience
        storage = TableStorage()
    }

    /// Number of rows.
    @inlinable
    public var count: Int {
        storage.journal?.gaps?.missAll()
        return storage.count
    }

    /// Whether there are no rows.
    @inlinable
    public var isEmpty: Bool { count == 0 }

    /// Whether there is a row with that key.
    @inlinable
    public func contains(_ key: Row.Key) -> Bool {
        storage.find(key, hash: TableStorage<Row>.hash(key)) != nil
    }

    /// The row with that key; nil when there is none.
    ///
    /// Assign a row to insert or replace, nil to remove; `table[key]?.count += 1` changes it in
    /// place. Storing a row under a key other than its own is a programmer error and traps.
    @inlinable
    public subscript(key: Row.Key) -> Row? {
        get {
            storage.find(key, hash: TableStorage<Row>.hash(key))
                .map { storage.pointer(at: $0).pointee }
        }
        _modify {
            makeUnique()
            let hash = TableStorage<Row>.hash(key)
            let found = storage.find(key, hash: hash)
            var row: Row? = found.map { storage.pointer(at: $0).move() }
            storage.journal?.note(row, for: key)
            defer { storage.put(row, key: key, hash: hash, at: found) }
            yield &row
        }
    }

    /// The row with that key, made from `fallback` when there is none.
    ///
    /// - Parameters:
    ///   - key: The row's key.
    ///   - fallback: Makes the row; its key must be `key`.
    @inlinable
    public subscript(key: Row.Key, default fallback: @autoclosure () -> Row) -> Row {
        get { self[key] ?? fallback() }
        _modify {
            makeUnique()
            let hash = TableStorage<Row>.hash(key)
            let found = storage.find(key, hash: hash)
            if let journal = storage.journal {
                journal.note(found.map { storage.pointer(at: $0).pointee }, for: key)
            }
            var row: Row
            if let found { row = storage.pointer(at: found).move() } else { row = fallback() }
            defer { storage.put(row, key: key, hash: hash, at: found) }
            yield &row
        }
    }

    /// Removes the row with that key and returns it; nil when there is none.
    @inlinable
    @discardableResult
    public mutating func remove(_ key: Row.Key) -> Row? {
        makeUnique()
        let hash = TableStorage<Row>.hash(key)
        guard let index = storage.find(key, hash: hash) else { return nil }
        let row = storage.pointer(at: index).move()
        storage.journal?.note(row, for: key)
        storage.remove(hash: hash, at: index)
        return row
    }

    /// Calls `body` with each row.
    ///
    /// The order depends on the order of inserts and removals alone, so two folds of one ledger
    /// see the same one.
    @inlinable
    public func forEach(_ body: (Row) throws -> Void) rethrows {
        storage.journal?.gaps?.missAll()
        try storage.forEachIndex { try body(storage.pointer(at: $0).pointee) }
    }

    /// All rows, in the order of ``forEach(_:)``.
    public var rows: [Row] {
        var rows: [Row] = []
        rows.reserveCapacity(count)
        forEach { rows.append($0) }
        return rows
    }

    @inlinable
    mutating func makeUnique() {
        if !isKnownUniquelyReferenced(&storage) { storage = storage.copy() }
    }
}
