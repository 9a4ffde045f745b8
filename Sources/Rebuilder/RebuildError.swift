/// Why a rebuild stopped that could be folded, loaded and checked.
package enum RebuildError: Error, Equatable, Sendable {
    /// The ledger holds other events in the part that was folded than were folded: some were
    /// committed behind the fold, or taken away.
    case ledgerChangedBehind(projection: String, folded: Int, found: Int)
}

extension RebuildError: CustomStringConvertible {
    /// The message for people: three lines.
    ///
    /// Wording may change in any release. Match on the case, never on the text.
    package var description: String {
        switch self {
        case .ledgerChangedBehind(let projection, let folded, let found):
            """
            The ledger changed behind the fold of '\(projection)': \(folded) events were folded, and \
            there are \(found) by now up to the same position.
            The live tables are unchanged.
            Run 'reprise rebuild \(projection)' again; 'reprise ledger verify' looks for the cause.
            """
        }
    }
}
