import Wording

/// A statement that was not sent, or cannot be what the caller took it for.
package enum StatementError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The statement's text holds a NUL character, where the server would see its end.
    case textHoldsNUL(during: String)
    /// The parameter with this number, counted from 1, holds a NUL character, which no text in
    /// PostgreSQL can.
    case parameterHoldsNUL(number: Int, during: String)
    /// More parameters than the protocol can number.
    case tooManyParameters(count: Int, during: String)
    /// A COPY that moves data over the connection, among statements that do not expect data.
    case copyNotExpected(during: String)
    /// A statement that is not the COPY that the call is for.
    case copyExpected(during: String)
    /// A transaction whose COMMIT the server turned into a ROLLBACK, because a statement in it had
    /// failed and the failure was passed over.
    case commitBecameRollback

    /// What happened, where, and what to do.
    package var description: String {
        switch self {
        case .textHoldsNUL(let during):
            "The statement (\(TextForPeople.line(during))) holds a NUL character and was not sent."
        case .parameterHoldsNUL(let number, let during):
            """
            Parameter $\(number) (\(TextForPeople.line(during))) holds a NUL character, which PostgreSQL cannot store \
            in a text; the statement was not sent.
            """
        case .tooManyParameters(let count, let during):
            """
            The statement (\(TextForPeople.line(during))) has \(count) parameters, the protocol allows 65535; it was \
            not sent.
            """
        case .copyNotExpected(let during):
            """
            The statements (\(TextForPeople.line(during))) hold a COPY FROM STDIN or TO STDOUT, which has no data here; \
            write INSERT instead.
            """
        case .copyExpected(let during):
            "The statement (\(TextForPeople.line(during))) is not a COPY over the connection."
        case .commitBecameRollback:
            "The transaction was rolled back at COMMIT, because a statement in it had failed."
        }
    }
}

/// A transaction that failed and whose ROLLBACK failed as well.
///
/// The server rolls back what a lost connection leaves open, so nothing of the transaction stays.
package struct TransactionError: Error, CustomStringConvertible {
    /// Why the transaction was given up.
    package let first: any Error
    /// Why the ROLLBACK did not go through.
    package let rollback: any Error

    /// Both reasons, the first one first.
    package var description: String {
        "\(first)\nThe ROLLBACK after it failed too: \(rollback)"
    }
}
