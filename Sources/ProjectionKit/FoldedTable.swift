/// A ``Table`` or a ``WorkingTable`` seen without its row type: what folding needs of it.
package protocol FoldedTable: Sendable {
    /// The table's name, unqualified.
    var name: String { get }
    /// What is wrong with the declaration of its rows, as a sentence; nil when nothing is.
    var mistake: String? { get }
    /// Number of rows.
    var count: Int { get }

    /// Takes in all rows of another table of the same type; both begin no journal before that.
    ///
    /// - Returns: False when the two have a row of the same key.
    func absorb(_ other: any FoldedTable) -> Bool

    /// Takes the changes back that were made since the journal began.
    ///
    /// - Returns: False when the table has no journal, because it never began or because the reducer
    ///   has put another table in the place of this one, so that nobody knows the changes.
    func undoChanges() -> Bool

    /// Compares the rows with those of another table, by their keys and encoded columns.
    ///
    /// What stands in no column is not compared. Values that cannot be encoded are the same when
    /// the reason is.
    ///
    /// - Parameter other: A table of the same type.
    /// - Returns: Whether they hold the same rows.
    func comparison(with other: any FoldedTable) -> TableComparison
}

extension RowTable: FoldedTable {
    package var name: String { Row.table.name }

    package var mistake: String? { Row.table.mistake }

    package func absorb(_ other: any FoldedTable) -> Bool {
        storage.absorb(same(other).storage)
    }

    /// Another table, which has to be of this one's type.
    func same(_ other: any FoldedTable) -> Self {
        guard let other = other as? Self else {
            preconditionFailure("'\(name)' and '\(other.name)' are tables of different types")
        }
        return other
    }
}
