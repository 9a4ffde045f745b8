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
        try await lines(["--schema", schema], in: database).joined(separator: "\n")
    }

    /// The definitions in a whole database but the generations' homes and the bookkeeping, line by
    /// line: publications, event triggers and whatever else stands in no schema among them.
    package static func ofEverything(in database: ScratchDatabase) async throws -> [String] {
        try await lines(
            ["--exclude-schema", "reprise", "--exclude-schema", "*__g[0-9]*"],
            in: database
        )
    }

    private static func lines(
        _ choice: [String],
        in database: ScratchDatabase
    ) async throws -> [String] {
        let dump = try await ChildProcess.run(
            "pg_dump",
            ["--schema-only", "--dbname", database.url] + choice,
            // A server may compile each of its hundred statements, however small.
            environment: ["PGOPTIONS": "-c jit=off"]
        )
        guard dump.status == 0 else { throw Failed(description: dump.standardError) }
        return dump.standardOutput.split(separator: "\n", omittingEmptySubsequences: true)
            .filter { !$0.hasPrefix("-- Dumped") && !$0.hasPrefix("\\") }
            .map(String.init)
    }
}
