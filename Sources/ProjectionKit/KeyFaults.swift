internal import Glibc
import Synchronization

/// Rows that were stored under keys that nothing is equal to, themselves included, as `Double.nan`.
///
/// Nobody could find such a row again. A subscript of a table cannot throw, so it notes the fault here, and
/// the fold asks after each event: for that it reads one number.
@usableFromInline
enum KeyFaults {
    private static let pending = Atomic(0)
    /// Names of tables by the thread on which a reducer ran.
    private static let tables = Mutex<[pthread_t: String]>([:])

    /// Notes that a reducer has stored such a row on this thread.
    @usableFromInline
    static func note(table: String) {
        let isNew = tables.withLock { $0.updateValue(table, forKey: pthread_self()) == nil }
        if isNew { pending.add(1, ordering: .relaxed) }
    }

    /// The fault that was noted on this thread, which is forgotten; nil for none.
    static func take() -> KeyFault? {
        guard pending.load(ordering: .relaxed) > 0 else { return nil }
        guard let table = tables.withLock({ $0.removeValue(forKey: pthread_self()) }) else {
            return nil
        }
        pending.subtract(1, ordering: .relaxed)
        return KeyFault(table: table)
    }
}

/// A row has a key that is not equal to itself.
struct KeyFault: Error, CustomStringConvertible {
    let table: String

    var description: String {
        "a row of the table '\(table)' has a key that is not equal to itself, as NaN is not, so that it "
            + "could never be found again"
    }
}

extension Projection {
    /// Applies an event, and looks at the keys of the rows that it has stored.
    ///
    /// - Throws: What the reducer throws, ``KeyFault``.
    mutating func reduceCheckingKeys(_ event: borrowing Event) throws {
        do {
            try reduce(event)
        } catch {
            _ = KeyFaults.take()
            throw error
        }
        if let fault = KeyFaults.take() { throw fault }
    }
}
