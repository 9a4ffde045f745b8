import Postgres

/// The order in which tables of a projection are filled: a foreign key has to find its parent.
enum ForeignKeyOrder {
    /// Sorts tables so that each comes behind those that it refers to.
    ///
    /// Tables that refer to each other in a circle have no such order and stay as they are; their
    /// keys must be deferrable.
    ///
    /// - Returns: The same OIDs.
    /// - Throws: What the server says.
    static func parentsFirst(
        _ tables: [UInt32],
        on connection: PostgresConnection
    ) async throws -> [UInt32] {
        let found = try await connection.query(
            """
            SELECT DISTINCT conrelid, confrelid FROM pg_catalog.pg_constraint
            WHERE contype = 'f' AND conrelid = ANY ($1::pg_catalog.oid[])
                AND confrelid = ANY ($1::pg_catalog.oid[]) AND conrelid <> confrelid
            """,
            [.ints(tables.map { Int64($0) })]
        )
        var parents: [UInt32: Set<UInt32>] = [:]
        for row in found.rows {
            parents[UInt32(try row.int("conrelid")), default: []].insert(
                UInt32(try row.int("confrelid"))
            )
        }
        var sorted: [UInt32] = []
        var rest = tables
        while !rest.isEmpty {
            let next = rest.firstIndex { parents[$0, default: []].isSubset(of: sorted) } ?? 0
            sorted.append(rest.remove(at: next))
        }
        return sorted
    }
}
