/// The name of a relation together with its schema, so that no search path decides what it means.
package struct QualifiedName: Hashable, Sendable, CustomStringConvertible {
    /// The schema, as the catalogue stores it.
    package let schema: String
    /// The name inside the schema, as the catalogue stores it.
    package let name: String

    /// A name in a schema; both without quotes.
    package init(schema: String, name: String) {
        self.schema = schema
        self.name = name
    }

    /// The name as it stands in a statement: both parts quoted, a dot between them.
    package var sql: String {
        SQLText.identifier(schema) + "." + SQLText.identifier(name)
    }

    /// The name for messages, without quotes.
    package var description: String { "\(schema).\(name)" }
}
