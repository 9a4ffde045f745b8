internal import Foundation

/// The scripts of docs/operating.md about roles, as an operator runs them.
package enum GrantsScript {
    /// Why it did not run.
    package struct Failure: Error {
        /// What `psql` says.
        package let reason: String
    }

    /// Runs one.
    ///
    /// - Parameters:
    ///   - name: What its first line calls it.
    ///   - job: The role that is to run Reprise.
    ///   - schema: The schema of the live tables.
    ///   - database: As a superuser sees it.
    /// - Throws: ``Failure``; when the document cannot be read.
    package static func run(
        _ name: String = "grants.sql",
        for job: String,
        schema: String,
        in database: ScratchDatabase
    ) async throws {
        let outcome = try await ChildProcess.run(
            "psql",
            [
                "-X", "-q", "-v", "ON_ERROR_STOP=1", "-v", "job=\(job)", "-v", "schema=\(schema)",
                "-d", database.url,
            ],
            input: try block(name, of: "docs/operating.md")
        )
        guard outcome.status == 0 else { throw Failure(reason: outcome.standardError) }
    }

    /// The block of a document that begins with a script's name.
    ///
    /// - Throws: ``Failure``; when the document cannot be read.
    package static func block(_ name: String, of path: String) throws -> String {
        let document = URL(filePath: #filePath).deletingLastPathComponent()
            .appending(path: "../../\(path)")
        let blocks = try String(contentsOf: document, encoding: .utf8)
            .components(separatedBy: "\n```sql\n").dropFirst()
            .map { $0.components(separatedBy: "\n```\n")[0] }
        guard let script = blocks.first(where: { $0.hasPrefix("-- \(name):") }) else {
            throw Failure(reason: "no block of \(path) begins with '-- \(name):'")
        }
        return script
    }
}
