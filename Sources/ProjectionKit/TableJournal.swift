/// What a ``RowTable`` notes of its changes: since the last time they were written, or undone.
///
/// It is there only while a fold goes on from tables that exist in PostgreSQL already; a bulk fold
/// pays for it with one comparison a change.
@usableFromInline
final class TableJournal<Row: TableRow> {
    /// The rows as they were before their first change; nil where there was none.
    @usableFromInline var before: [JournalKey<Row.Key>: Row?]
    /// What is known of rows that are not held; nil for a table that holds all its rows.
    @usableFromInline let gaps: TableGaps<Row.Key>?
    private let texts: KeyTexts?

    init(
        before: [JournalKey<Row.Key>: Row?] = [:],
        gaps: TableGaps<Row.Key>?,
        texts: KeyTexts?
    ) {
        self.before = before
        self.gaps = gaps
        self.texts = texts
    }

    /// For a copy of the table: its own notes, and the same gaps, so that a row which only the copy
    /// was asked for is fetched as well.
    @usableFromInline
    func copy() -> TableJournal { TableJournal(before: before, gaps: gaps, texts: texts) }

    /// A row was asked for that is not held.
    @usableFromInline
    func miss(_ key: Row.Key) {
        // One that has changed is known: it is not held because it was removed.
        let key = JournalKey(key, texts)
        // No row can have a key that is not equal to itself, so that nobody needs to look for it.
        guard let gaps, key == key, before.index(forKey: key) == nil else { return }
        gaps.miss(key)
    }

    /// Keeps a row as it was before it changes for the first time.
    @usableFromInline
    func note(_ row: Row?, for key: Row.Key) {
        let key = JournalKey(key, texts)
        if before.index(forKey: key) == nil { before.updateValue(row, forKey: key) }
    }
}

/// A key that is the same as another one where both are to PostgreSQL.
@usableFromInline
struct JournalKey<Key: Hashable>: Hashable {
    let key: Key
    private let texts: KeyTexts?

    init(_ key: Key, _ texts: KeyTexts?) {
        self.key = key
        self.texts = texts
    }

    @usableFromInline
    static func == (left: JournalKey, right: JournalKey) -> Bool {
        KeyHash.areSame(left.key, right.key, left.texts)
    }

    @usableFromInline
    func hash(into hasher: inout Hasher) { hasher.combine(KeyHash.hash(key, texts)) }
}

/// The rows of a table that holds only those it was asked for.
@usableFromInline
final class TableGaps<Key: Hashable> {
    /// Keys that were asked for and have no row.
    var absent: Set<JournalKey<Key>> = []
    /// Keys that were asked for, of which nothing is known yet.
    var wanted: Set<JournalKey<Key>> = []
    /// Counts what all tables of the fold want.
    let wants: RowWants

    init(wants: RowWants) {
        self.wants = wants
    }

    /// A row was asked for that is not held.
    @usableFromInline
    func miss(_ key: JournalKey<Key>) {
        guard !absent.contains(key), wanted.insert(key).inserted else { return }
        wants.keys += 1
    }

    /// All rows were asked for.
    @usableFromInline
    func missAll() { wants.isWhole = true }
}

/// What the tables of one fold were asked for and do not hold.
///
/// `@unchecked Sendable`: a fold is used by one thread at a time, and so are its tables.
package final class RowWants: @unchecked Sendable {
    /// Keys, over all tables.
    package fileprivate(set) var keys = 0
    /// Whether a reducer asked for a table as a whole: its rows in order, or their number.
    package internal(set) var isWhole = false

    /// None yet.
    package init() {}

    /// Whether the reducer was told that a row is not there which may be there.
    var isAny: Bool { keys > 0 || isWhole }

    /// The tables were given what they wanted.
    func settle(_ number: Int) { keys -= number }
}
