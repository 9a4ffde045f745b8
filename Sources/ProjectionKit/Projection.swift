/// Folds the events of a ledger into the rows of a read model.
///
/// A projection is a value; its tables are its stored properties (``Table`` for readers,
/// ``WorkingTable`` for itself) and `reduce` changes their rows. Each property keeps its table: one
/// that holds another table after the events than before is a programmer error and traps.
///
/// It cannot reach a database, the network or the clock, which is why two rebuilds of one ledger load
/// the same rows.
///
/// - Order: events arrive by ascending position: bucket after bucket, inside a bucket by event id,
///   one at a time. A projection needs no locks.
/// - Memory: all rows are held until they are loaded.
/// - Change: an edited reducer changes nothing until the next rebuild.
public protocol Projection: Sendable {
    /// The projection's name: lower-case letters, digits and `_`, beginning with a letter, 40
    /// characters at most. Generations live in schemas named after it (`orders__g42`).
    static var name: String { get }

    /// The text of `schema.sql`: CREATE TABLE, indexes, constraints and comments, with unqualified
    /// names. Nil clones the live tables instead.
    static var schema: String? { get }

    /// The text of `setup.sql`: types, functions and extensions the tables need, run in the live schema.
    ///
    /// Every rebuild runs it before it plans, and keeps what it does. Every plan runs it as well, a
    /// rebuild's own included, and undoes it. So it has to be repeatable (`IF NOT EXISTS`,
    /// `OR REPLACE`). It may change no table of a generation or of the bookkeeping. Nil when there is none.
    static var setup: String? { get }

    /// The text of `checks.sql`: queries over the new generation, unqualified names; one that
    /// returns a row stops the swap. Nil when there are none.
    static var checks: String? { get }

    /// The version of the reducer and its rows; nil lets every change of the program count as one.
    ///
    /// `follow`, `rebuild --resume` and `swap` continue a generation of the same version only. With
    /// nil a generation belongs to the very program that built it: after each deployment a projection
    /// is rebuilt before it is followed. Declare a version if that is too often, and raise it with
    /// every change that makes other rows of the same events: nothing else notices such a change.
    static var version: Int? { get }

    /// The state before the first event: empty tables.
    init()

    /// Applies one event.
    ///
    /// Refuse what does not fit by throwing; do not trap on a row that is not there. Where a fold goes
    /// on from rows in PostgreSQL (`follow`, `rebuild --resume`), a batch is tried with the rows in
    /// memory first, and again when those that it asked for have been read; what it did and threw
    /// before that is forgotten.
    ///
    /// - Parameter event: The next event of the ledger, of any type.
    /// - Throws: Any error. The rebuild stops and names the event; the live tables are unchanged.
    mutating func reduce(_ event: borrowing Event) throws
}

extension Projection {
    /// None.
    public static var setup: String? { nil }
    /// None.
    public static var checks: String? { nil }
    /// None: the program stands for it.
    public static var version: Int? { nil }
}

/// Why a reducer refuses an event, for facts that the payload accessors cannot see.
///
/// ```swift
/// guard amount >= 0 else { throw EventError("amountCents is negative") }
/// ```
public struct EventError: Error, CustomStringConvertible {
    /// What is wrong, as a clause.
    ///
    /// Do not put personal data into it: it is printed and logged.
    public let description: String

    /// Makes the error.
    public init(_ reason: String) {
        description = reason
    }
}
