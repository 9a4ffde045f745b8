import Postgres
import ProjectionKit

@testable import ReadModels

/// Positions, their formats, and the statements of an operator that hold them.
enum PositionsCheck {
    /// A statement that reads, one that writes, a name, a table and a position, with zero bytes
    /// between them.
    static func run(_ input: [UInt8]) throws {
        let texts = input.texts(5)
        let (read, write, name) = (texts[0], texts[1], texts[2])
        let position = try check(position: texts[4])
        try check(table: texts[3])
        let templates = Self.templates(read, write, name, QualifiedName(sql: texts[3]))
        for template in templates {
            _ = template.reading(of: "a 'projection'")
            guard
                let statement = template.writing(position, generation: 7, of: "a 'projection'")
            else { continue }
            try require(statement.hasPrefix("DO "), "what writes is one statement")
            let body = try constant(statement.dropFirst(3))
            guard let start = body.firstRange(of: "EXECUTE "),
                let end = body.firstRange(of: ";\nGET")
            else {
                throw FuzzFailure(description: "the body executes a statement")
            }
            let inner = try constant(body[start.upperBound..<end.lowerBound])
            try require(!inner.contains("{generation}"), "every mark is filled in")
            let literal = template.format.literal(of: position) ?? ""
            try require(inner.contains(literal), "the statement holds the position")
        }
    }

    private static func templates(
        _ read: String,
        _ write: String,
        _ name: String,
        _ table: QualifiedName?
    ) -> [PositionTemplate] {
        var templates: [PositionTemplate] = []
        for format in PositionFormat.allCases {
            if let own = try? PositionTemplate(read: read, write: write, format: format) {
                templates.append(own)
            }
            for preset in PositionPreset.allCases {
                for key in [nil, read] {
                    let row = PositionPreset.Row(name: name, key: key, table: table, format: format)
                    if let found = try? preset.template(for: row) { templates.append(found) }
                }
            }
        }
        return templates
    }

    private static func check(position text: String) throws -> Position? {
        for format in PositionFormat.allCases {
            guard let position = format.position(from: text) else { continue }
            guard let literal = format.literal(of: position) else { continue }
            let plain = literal.filter { $0 != "'" }
            try require(format.position(from: plain) == position, "what is written is read")
        }
        guard let position = Position(text) else {
            return PositionFormat.pair.position(from: text)
        }
        try require(position.description == text, "a position is printed as it was read")
        return position
    }

    private static func check(table text: String) throws {
        guard let name = QualifiedName(sql: text) else { return }
        try require(QualifiedName(sql: name.sql) == name, "a name that is quoted is the same")
    }

    /// What a string constant stands for that fills the whole text, by the server's rules.
    private static func constant(_ text: some StringProtocol) throws -> String {
        var scalars = Array(text.unicodeScalars)[...]
        let hasBackslashes = scalars.first == "E"
        if hasBackslashes { scalars = scalars.dropFirst() }
        guard scalars.count >= 2, scalars.first == "'", scalars.last == "'" else {
            throw FuzzFailure(description: "a constant stands in quotes")
        }
        var inner = scalars.dropFirst().dropLast()
        var value = String.UnicodeScalarView()
        while let scalar = inner.popFirst() {
            if scalar == "'" || scalar == "\\" && hasBackslashes {
                try require(inner.popFirst() == scalar, "a quote inside a constant is doubled")
            }
            value.append(scalar)
        }
        return String(value)
    }
}
