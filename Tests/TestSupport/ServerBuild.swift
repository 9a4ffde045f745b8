internal import Postgres

/// What the server that is tested was built with.
package enum ServerBuild {
    /// Its major version, such as 18.
    package static func major() async throws -> Int {
        try await withScratchDatabase { database in
            try await database.withConnection { Int($0.serverVersion) / 10_000 }
        }
    }

    /// Whether it has ICU, which those of PyPI have not.
    package static func hasICU() async throws -> Bool {
        try await withScratchDatabase { database in
            // One of ICU's is in the catalogue of every server.
            try await !database.query(
                "SELECT FROM pg_collation WHERE collname LIKE '%-x-icu' LIMIT 1"
            ).rows.isEmpty
        }
    }
}
