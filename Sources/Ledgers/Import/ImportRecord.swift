/// What is known of an import.
struct ImportRecord {
    /// Whether the row is what was written.
    let isSound: Bool

    static func all(in database: SQLiteDatabase) throws -> [ImportRecord] { [] }
}
