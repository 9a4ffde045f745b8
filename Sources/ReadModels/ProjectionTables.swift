package import ProjectionKit

/// What ReadModels knows of a projection: its name, its SQL files and its tables.
///
/// Not its reducer.
package struct ProjectionTables: Sendable {
    /// The projection's name.
    package let name: String
    /// The text of `schema.sql`; nil clones the live tables.
    package let schema: String?
    /// The text of `setup.sql`.
    package let setup: String?
    /// The text of `checks.sql`.
    package let checks: String?
    /// The version that it declares of itself; nil where the program stands for it.
    package let version: Int?
    /// The tables for readers, empty, in the order the projection declares them.
    package let tables: [any LoadableTable]
    /// Names of its working tables.
    private let workingTables: [String]

    /// Takes what a projection type declares.
    package init(_ projection: any Projection.Type) {
        name = projection.name
        schema = projection.schema
        setup = projection.setup
        checks = projection.checks
        version = projection.version
        let fold = projection.makeFold()
        tables = fold.tables
        workingTables = fold.workingTables.map(\.name)
    }

    /// Why the projection cannot be used at all, whatever the database holds.
    var complaints: [String] {
        var complaints: [String] = []
        if !ProjectionTables.isUsable(name: name) {
            complaints.append(
                "The name '\(name)' must begin with a lower-case letter, hold only lower-case "
                    + "letters, digits and '_', and have 40 characters at most."
            )
        }
        if tables.isEmpty {
            complaints.append(
                workingTables.isEmpty
                    ? "It declares no table: none of its stored properties is a Table."
                    : "It declares working tables only, which no reader sees: "
                        + workingTables.map { "'\($0)'" }.joined(separator: ", ")
                        + ". What readers are to see is a stored property of the type Table."
            )
        }
        for (name, twins) in Dictionary(grouping: tables, by: \.name) where twins.count > 1 {
            complaints.append("It declares the table '\(name)' \(twins.count) times.")
        }
        for table in tables where table.name.utf8.count > 63 || table.name.utf8.contains(0) {
            complaints.append(
                "The table name '\(table.name)' is longer than PostgreSQL's 63 bytes."
            )
        }
        for table in tables where table.columnNames.count > ExchangedTable.mostColumns {
            complaints.append(
                "The table '\(table.name)' declares \(table.columnNames.count) columns, and "
                    + "\(ExchangedTable.mostColumns) are the most: changed rows travel with two more, and "
                    + "PostgreSQL's tables have 1600 at most."
            )
        }
        return complaints
    }

    private static func isUsable(name: String) -> Bool {
        let utf8 = name.utf8
        guard let first = utf8.first, utf8.count <= 40, (97...122).contains(first) else {
            return false
        }
        return utf8.allSatisfy { (97...122).contains($0) || (48...57).contains($0) || $0 == 95 }
    }
}
