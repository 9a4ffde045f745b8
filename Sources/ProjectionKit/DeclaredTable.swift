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

    /// Takes the declarations of a projection.
    ///
    /// - Parameter projection: Its empty state.
    package init(of projection: P) {
        declarations = Self.tables(in: projection).map(Declaration.init)
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
