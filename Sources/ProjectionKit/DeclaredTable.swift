/// A table and the stored property of the projection that holds it.
package struct DeclaredTable: Sendable {
    /// The property's name.
    package let property: String
    /// The table.
    package let table: any FoldedTable
}

/// Which tables a projection declares: those of its empty state.
///
/// A table is known by its property. What a property holds can change where its type allows it: an
/// optional, an `any`, a mirror of the projection's own making. Nobody would know which rows go
/// where, so each such change is a programmer error and traps.
package struct TableDeclarations<P: Projection>: Sendable {
    fileprivate struct Declaration {
        let property: String
        let type: any FoldedTable.Type
        let name: String

        init(_ table: DeclaredTable) {
            property = table.property
            type = Swift.type(of: table.table)
            name = table.table.name
        }
    }

    private let declarations: [Declaration]

    /// What is wrong with them, a sentence each.
    package let mistakes: [String]

    /// Takes the declarations of a projection.
    ///
    /// - Parameter projection: Its empty state.
    package init(of projection: P) {
        let tables = Self.tables(in: projection)
        declarations = tables.map(Declaration.init)
        mistakes =
            tables.compactMap { $0.table.mistake.map { "Projection '\(P.name)': \($0)" } }
            + Self.properties(of: projection).compactMap { name, value in
                if P.self is any PartitionedProjection.Type {
                    return "Projection '\(P.name)' has a partition key, and its property '\(name)' "
                        + "is no table, so that its copies cannot be united."
                }
                return Self.hiddenTable(in: value, depth: 3).map { table in
                    "Projection '\(P.name)' has the table '\(table)' inside its property '\(name)': "
                        + "make it a stored property of the projection itself, or a WorkingTable."
                }
            }
    }

    /// Traps with the first mistake, in a release build as well.
    package func assertSound() {
        if let mistake = mistakes.first { fatalError(mistake) }
    }

    /// The stored properties that are no tables.
    private static func properties(of projection: P) -> [(name: String, value: Any)] {
        Mirror(reflecting: projection).children.compactMap { child in
            child.value is any FoldedTable ? nil : (child.label ?? "", child.value)
        }
    }

    /// A table for readers where no rebuild looks for one.
    private static func hiddenTable(in value: Any, depth: Int) -> String? {
        if let table = value as? any LoadableTable { return table.name }
        guard depth > 0 else { return nil }
        return Mirror(reflecting: value).children.lazy
            .compactMap { hiddenTable(in: $0.value, depth: depth - 1) }.first
    }

    /// The tables of a state of the projection, in the order of their declaration.
    ///
    /// Traps where they are not the declared ones, with the sentence in a release build as well.
    package func tables(of projection: P) -> [DeclaredTable] {
        let found = Self.tables(in: projection)
        let tables = declarations.map { declaration in
            let table = found.first { $0.property == declaration.property }
            guard let table, Declaration(table).isSame(as: declaration) else {
                fatalError(Self.complaint(declaration, table.map(Declaration.init)))
            }
            return table
        }
        if let added = found.first(where: { table in
            !declarations.contains { $0.property == table.property }
        }) {
            fatalError(Self.complaint(nil, Declaration(added)))
        }
        return tables
    }

    private static func tables(in projection: P) -> [DeclaredTable] {
        Mirror(reflecting: projection).children.compactMap { child in
            (child.value as? any FoldedTable).map {
                DeclaredTable(property: child.label ?? "", table: $0)
            }
        }
    }

    private static func complaint(_ before: Declaration?, _ now: Declaration?) -> String {
        let property = before?.property ?? now?.property ?? ""
        return "the property '\(property)' of projection '\(P.name)' held "
            + "\(before?.text ?? "no table") at first and holds \(now?.text ?? "no table") now. "
            + "A reducer may change the rows of a table, not which table a property holds"
    }
}

extension TableDeclarations.Declaration {
    fileprivate func isSame(as other: Self) -> Bool { type == other.type && name == other.name }

    fileprivate var text: String { "the table '\(name)' (\(type))" }
}
