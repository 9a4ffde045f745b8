import Postgres

/// What readers would lose by a cut-over, because the generation that comes does not have it: tables, and
/// columns, indexes, constraints and statistics that somebody put onto live tables by hand.
///
/// It stays with the generation that leaves, out of sight, until that is pruned.
struct ManualLoss: Sendable {
    let live: LiveTables
    let liveSchema: String
    /// The number of the generation that comes.
    let generation: Int
    /// Its tables, by name.
    let tables: [String: UInt32]
    /// Where they are.
    let homeSchema: String

    private static let consent = "'--allow-loss' goes ahead all the same"

    /// Finds it.
    ///
    /// - Parameters:
    ///   - isBack: Whether the generation was live before: tables that came after it go with the one
    ///     that leaves, and come back with it.
    ///   - keys: Foreign keys that the tables get when they go live.
    ///   - connection: Inside a transaction; its search path is changed.
    /// - Returns: A refusal for each.
    /// - Throws: ``ServerError``.
    func findings(
        isBack: Bool,
        keys: [OutgoingForeignKey],
        on connection: PostgresConnection
    ) async throws -> [Finding] {
        guard !live.tables.isEmpty else { return [] }
        return try await (isBack ? [] : leavingTables(on: connection))
            + features(besides: keys, isBack: isBack, on: connection)
    }

    private func leavingTables(on connection: PostgresConnection) async throws -> [Finding] {
        let leaving = live.tables.filter { tables[$0.name.name] == nil }
        let rows = try await connection.query(
            """
            SELECT c.oid::pg_catalog.regclass AS name,
                (SELECT pg_catalog.string_agg(DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC'
                        ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END, ', ')
                    FROM pg_catalog.aclexplode(c.relacl) AS a WHERE a.grantee <> c.relowner) AS grants,
                (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(t.tgname), ', ' ORDER BY t.tgname)
                    FROM pg_catalog.pg_trigger AS t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal)
                    AS triggers,
                (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(p.polname), ', '
                        ORDER BY p.polname)
                    FROM pg_catalog.pg_policy AS p WHERE p.polrelid = c.oid) AS policies
            FROM pg_catalog.pg_class AS c WHERE c.oid = ANY ($1::pg_catalog.oid[]) ORDER BY 1
            """,
            [.ints(leaving.map { Int64($0.oid) })]
        ).rows
        return try rows.map { row in
            let company = [
                row["grants"].map { "rights of \($0)" }, row["triggers"].map { "triggers \($0)" },
                row["policies"].map { "policies \($0)" },
            ].compactMap { $0 }
            let with = company.isEmpty ? "" : ", with " + company.joined(separator: ", ")
            return Finding(
                .refuse,
                "table \(try row.string("name"))",
                "it leaves the live schema\(with), because generation \(generation) does not have it. "
                    + Self.consent
            )
        }
    }

    private func features(
        besides keys: [OutgoingForeignKey],
        isBack: Bool,
        on connection: PostgresConnection
    ) async throws -> [Finding] {
        let present = try await TableShape.capture(
            of: live.oids,
            for: homeSchema,
            searchPath: [liveSchema],
            on: connection
        )
        let coming = try await TableShape.capture(
            of: Array(tables.values),
            for: homeSchema,
            searchPath: [homeSchema, liveSchema],
            on: connection
        )
        let own = Set(keys.map { [$0.table, $0.feature] })
        var findings: [Finding] = []
        for (table, shape) in present.sorted(by: { $0.key < $1.key }) {
            guard let there = coming[table] else { continue }
            let record = live.generation?.tables.first { $0.name == table }?.shape
            let name = QualifiedName(schema: liveSchema, name: table)
            for feature in shape.inOrder
            where there[feature.key] == nil && record?[feature.key] == nil {
                guard isLost(feature, isBack: isBack), !own.contains([table, feature.key]),
                    !there.values.contains(where: { $0.twin != nil && $0.twin == feature.twin })
                else { continue }
                findings.append(
                    Finding(
                        .refuse,
                        "\(feature.key) of \(name)",
                        "it was made by hand, and generation \(generation) does not have it. "
                            + "\(Self.consent), and it stays with the generation that leaves"
                    )
                )
            }
        }
        return findings
    }

    /// A rebuild carries over what it can, and says what it cannot; a column with its values is more
    /// than that.
    private func isLost(_ feature: TableFeature, isBack: Bool) -> Bool {
        guard isBack else { return feature.kind == "column" }
        return ["column", "index", "constraint"].contains(feature.kind)
            || feature.key.hasPrefix("statistics ") && feature.partOf == nil
    }
}
