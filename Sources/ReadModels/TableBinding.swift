import Foundation
import Postgres
import ProjectionKit

/// A declared table matched with a real one: which type each encoded field has.
struct TableBinding: Sendable {
    /// The table's name, unqualified.
    let name: String
    /// The columns that are written, in the order of the encoded fields.
    let columns: [String]
    /// Their real types.
    let types: [ColumnType]
    /// For those whose values travel as text, the type as SQL names it.
    let casts: [String: String]

    /// Matches a declared table with a real one.
    ///
    /// - Returns: The binding, or every mismatch, with both sides named; and remarks that do not
    ///   stop a rebuild.
    static func match(
        _ declared: any LoadableTable,
        with real: TableDescription,
        labels: [String: [String]],
        uniqueKeys: [[String]]
    ) -> (binding: TableBinding?, refusals: [String], warnings: [String]) {
        var refusals: [String] = []
        var warnings: [String] = []
        var types: [ColumnType] = []
        var casts: [String: String] = [:]
        for (column, value) in zip(declared.columnNames, declared.columnValues) {
            guard let real = real.columns.first(where: { column.isSameName(as: $0.name) }) else {
                refusals.append(
                    "\(declared.name).\(column): the row type declares it as \(value.swiftType), "
                        + "and the table has no such column."
                )
                continue
            }
            let place = "\(declared.name).\(column)"
            let kind = match(value, with: real, place)
            types += kind.type.map { [$0] } ?? []
            refusals += kind.refusals
            if kind.type == .passed { casts[column] = real.baseName }
            refusals += missingLabels(of: value, in: real, labels: labels, place: place)
            if value.isNullable && real.isNotNull {
                refusals.append(
                    "\(place): the row type has \(value.swiftType), which can be nil; the table "
                        + "has \(real.typeName) NOT NULL."
                )
            }
            if real.isGenerated {
                refusals.append(
                    "\(place): the row type has \(value.swiftType); the table generates the column "
                        + "itself."
                )
            }
        }
        for real in real.columns
        where !declared.columnNames.contains(where: { real.name.isSameName(as: $0) }) {
            let remark = remark(onUndeclared: real, of: declared.name)
            if let refusal = remark.refusal { refusals.append(refusal) }
            if let warning = remark.warning { warnings.append(warning) }
        }
        if !uniqueKeys.contains(where: { Set($0) == Set(declared.key) }) {
            warnings.append(
                "\(declared.name): no primary key or unique constraint covers exactly the key "
                    + "(\(declared.key.joined(separator: ", "))) that the row type declares."
            )
        }
        let binding = TableBinding(
            name: declared.name,
            columns: declared.columnNames,
            types: types,
            casts: casts
        )
        return (refusals.isEmpty ? binding : nil, refusals, warnings)
    }

    /// Which type a declared column's fields have.
    private static func match(
        _ value: ColumnValueDescription,
        with real: ColumnDescription,
        _ place: String
    ) -> (type: ColumnType?, refusals: [String]) {
        if let passed = value.passedAs {
            guard !real.isType(passed) else { return (.passed, []) }
            return (
                .passed,
                [
                    "\(place): the row type declares it as: \"\(passed)\"; the table has "
                        + "\(real.typeName)."
                ]
            )
        }
        if let type = columnType(of: real), value.types.contains(type) { return (type, []) }
        let fits = value.types.map(\.sqlName).joined(separator: ", ")
        let isText = value.types.contains(.text) && value.labels == nil
        return (
            nil,
            [
                "\(place): the row type has \(value.swiftType), which fits \(fits); the table has "
                    + "\(real.typeName)."
                    + (isText ? " Declare it as: \"\(real.baseType)\" to send its text." : "")
            ]
        )
    }

    /// What a column that no row type declares holds after each rebuild.
    private static func remark(
        onUndeclared column: ColumnDescription,
        of table: String
    ) -> (refusal: String?, warning: String?) {
        let place = "\(table).\(column.name)"
        let lead = "\(place): the row type does not declare it, so"
        if column.isGenerated { return (nil, nil) }
        if column.isIdentity { return (nil, "\(lead) each rebuild numbers the rows anew.") }
        if column.hasDefault {
            return (nil, "\(lead) each rebuild gives every row the column's default.")
        }
        guard column.isNotNull else { return (nil, "\(lead) it is NULL in every row.") }
        return (
            "\(place): the table has \(column.typeName) NOT NULL without a default, and the row "
                + "type does not declare it.",
            nil
        )
    }

    private static func columnType(of column: ColumnDescription) -> ColumnType? {
        if column.typeKind == "e" { return .enumeration }
        if column.baseType == "citext", column.typeExtension == "citext" { return .citext }
        let type = column.isBuiltIn ? ColumnType(rawValue: column.baseType) : nil
        return type == .citext ? nil : type
    }

    private static func missingLabels(
        of value: ColumnValueDescription,
        in real: ColumnDescription,
        labels: [String: [String]],
        place: String
    ) -> [String] {
        guard real.typeKind == "e", let wanted = value.labels else { return [] }
        let found = Set(labels[real.name] ?? [])
        return wanted.filter { !found.contains($0) }.map {
            "\(place): \(value.swiftType) has the case '\($0)'; the type \(real.typeName) has no "
                + "such label."
        }
    }
}

extension ColumnDescription {
    /// Whether people call its type so, with or without schema and length.
    fileprivate func isType(_ name: String) -> Bool {
        func bare(_ name: String) -> String {
            let type = name.replacing(/\([^)]*\)/, with: "").lowercased()
            return String(type.split(separator: ".").last ?? "").filter { $0 != "\"" }
                .trimmingCharacters(in: .whitespaces)
        }
        return [typeName, baseName, baseType].contains { bare($0) == bare(name) }
    }
}

extension String {
    /// Whether PostgreSQL takes the two for one name: it compares bytes, where Swift takes two ways
    /// to write an accented letter for the same.
    fileprivate func isSameName(as other: String) -> Bool { utf8.elementsEqual(other.utf8) }
}
