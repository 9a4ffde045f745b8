/// `pg_dump --schema-only` of some schemas: the oracle for "only the rows changed".
package enum SchemaDump {
    /// pg_dump failed.
    package struct Failed: Error, CustomStringConvertible {
        /// What it wrote.
        package let description: String
    }

    /// The definitions in a schema, without the lines that tell when and by what they were dumped.
    package static func of(_ schema: String = "public", in database: ScratchDatabase) async throws
        -> String
    {
        let dump = try await ChildProcess.run(
            "pg_dump",
            ["--schema-only", "--schema", schema, "--dbname", database.url]
        )
        guard dump.status == 0 else { throw Failed(description: dump.standardError) }
        return dump.standardOutput.split(separator: "\n", omittingEmptySubsequences: true)
            .filter { !$0.hasPrefix("-- Dumped") && !$0.hasPrefix("\\") }
            .joined(separator: "\n")
    }
}
