/// A table for readers: its rows are loaded into PostgreSQL.
///
/// See ``RowTable`` for what it can do.
public typealias Table<Row: TableRow> = RowTable<Row, TableAudience.Readers>

/// A table for the reducer alone: working state that is never loaded and is in no `schema.sql`.
///
/// It can do what a ``Table`` can, and is another type: neither can take the other's place.
public typealias WorkingTable<Row: TableRow> = RowTable<Row, TableAudience.Reducer>

/// Who the rows of a ``RowTable`` are for.
public enum TableAudience {
    /// Readers.
    public enum Readers {}
    /// The reducer alone.
    public enum Reducer {}
}

/// The rows of one table while a projection folds: looked up, changed and counted by key.
///
/// Write ``Table`` or ``WorkingTable``: who the rows are for is part of the type.
///
/// A value type with copy on write. Rows keep the order in which they were first inserted; a
/// removed row's place goes to the next new one.
public struct RowTable<Row: TableRow, Audience>: Sendable {
    @usableFromInline var storage: TableStorage<Row>

    // Not public, so that the two audiences are all there are.
    @inlinable
    init(storage: TableStorage<Row>) {
        self.storage = storage
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
        storage.find(key, hash: storage.hash(key)) != nil
    }

    /// The row with that key; nil when there is none.
    ///
    /// Assign a row to insert or replace, nil to remove; `table[key]?.count += 1` changes it in
    /// place. Storing a row under a key other than its own is a programmer error and traps.
    @inlinable
    public subscript(key: Row.Key) -> Row? {
        get {
            storage.find(key, hash: storage.hash(key))
                .map { storage.pointer(at: $0).pointee }
        }
        _modify {
            makeUnique()
            let access = storage.beginAccess(to: key)
            defer { storage.endAccess() }
            yield &access.pointee.row
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
            // Handed on, the closure would be allocated on the heap, once for each access.
            let row: UnsafeMutablePointer<Row>
            if let found = storage.beginChange(of: key) {
                row = found
            } else {
                row = storage.insertForChange(fallback())
            }
            defer { storage.endChange(of: row) }
            yield &row.pointee
        }
    }

    /// Inserts a row, unless there is one with its key.
    ///
    /// Cheaper than asking with ``contains(_:)`` first: the key is looked up once.
    ///
    /// - Returns: Whether it was inserted.
    @inlinable
    @discardableResult
    public mutating func insert(_ row: Row) -> Bool {
        makeUnique()
        let key = row.key
        let hash = storage.hash(key)
        guard storage.find(key, hash: hash) == nil else { return false }
        storage.journal?.note(nil, for: key)
        storage.noteFault(of: key)
        storage.insert(row, hash: hash)
        return true
    }

    /// Changes the row with that key where it stands.
    ///
    /// The same as `table[key]?.change()`, and cheaper: the row is not moved out and back.
    ///
    /// - Parameters:
    ///   - key: The row's key, which must stay as it is.
    ///   - body: Changes the row.
    /// - Returns: What `body` returns; nil when there is no such row.
    /// - Throws: What `body` throws.
    @inlinable
    @discardableResult
    public mutating func update<Result>(
        _ key: Row.Key,
        _ body: (inout Row) throws -> Result
    ) rethrows -> Result? {
        makeUnique()
        guard let row = storage.beginChange(of: key) else {
            storage.cancelChange()
            return nil
        }
        defer { storage.endChange(of: row) }
        return try body(&row.pointee)
    }

    /// Removes the row with that key and returns it; nil when there is none.
    @inlinable
    @discardableResult
    public mutating func remove(_ key: Row.Key) -> Row? {
        makeUnique()
        let hash = storage.hash(key)
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

extension RowTable where Audience == TableAudience.Readers {
    /// An empty table.
    @inlinable
    public init() { self.init(storage: TableStorage()) }

    /// A table with the rows of a working table, which keeps them.
    ///
    /// ```swift
    /// published = Table(draft)
    /// ```
    ///
    /// Rows are copied when one of the two changes.
    @inlinable
    public init(_ rows: WorkingTable<Row>) { self.init(storage: rows.storage) }
}

extension RowTable where Audience == TableAudience.Reducer {
    /// An empty table.
    @inlinable
    public init() { self.init(storage: TableStorage()) }

    /// A working table with the rows of a table for readers, which keeps them.
    ///
    /// Rows are copied when one of the two changes.
    @inlinable
    public init(_ rows: Table<Row>) { self.init(storage: rows.storage) }
}
