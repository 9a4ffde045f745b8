import Postgres

/// The order in which tables of a projection are filled: a foreign key has to find its parent.
enum ForeignKeyOrder {
    /// Sorts tables so that each comes behind those that it refers to.
    ///
    /// In a circle of tables that refer to each other, a key that can be deferred does not count. A
    /// circle of others has no such order and stays as it is.
    ///
    /// - Returns: The same OIDs.
    /// - Throws: What the server says.
    static func parentsFirst(
        _ tables: [UInt32],
        on connection: PostgresConnection
    ) async throws -> [UInt32] {
        let found = try await connection.query(
            """
            SELECT conrelid, confrelid, pg_catalog.bool_and(condeferrable) AS deferrable
            FROM pg_catalog.pg_constraint
            WHERE contype = 'f' AND conrelid = ANY ($1::pg_catalog.oid[])
                AND confrelid = ANY ($1::pg_catalog.oid[]) AND conrelid <> confrelid
            GROUP BY 1, 2
            """,
            [.ints(tables.map { Int64($0) })]
        )
        var parents: [UInt32: Set<UInt32>] = [:]
        var firmParents: [UInt32: Set<UInt32>] = [:]
        for row in found.rows {
            let (child, parent) = (try row.int("conrelid"), try row.int("confrelid"))
            parents[UInt32(child), default: []].insert(UInt32(parent))
            guard try !row.bool("deferrable") else { continue }
            firmParents[UInt32(child), default: []].insert(UInt32(parent))
        }
        var sorted: [UInt32] = []
        var rest = tables
        while !rest.isEmpty {
            let next =
                rest.firstIndex { parents[$0, default: []].isSubset(of: sorted) }
                ?? rest.firstIndex { firmParents[$0, default: []].isSubset(of: sorted) } ?? 0
            sorted.append(rest.remove(at: next))
        }
        return sorted
    }
}
