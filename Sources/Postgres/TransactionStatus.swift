/// Where a connection stands between two statements.
package enum TransactionStatus: Hashable, Sendable {
    /// No transaction.
    case idle
    /// A statement is under way.
    case active
    /// In a transaction.
    case inTransaction
    /// In a transaction of which a statement has failed; only ROLLBACK goes on from here.
    case failed
    /// The connection is gone.
    case unknown
}
