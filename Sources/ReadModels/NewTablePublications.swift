import Postgres

/// Publications that send new tables by themselves: those of all tables, and of the schema `reprise`.
///
/// A subscription stops for all its tables at the first row of one that the subscriber lacks, and each
/// generation has new tables. Nothing keeps a table out of such a publication: an unlogged one is, and is
/// empty after a crash.
enum NewTablePublications {
    /// A refusal for each that somebody consumes, or a warning where that was consented to.
    ///
    /// - Parameters:
    ///   - consents: Whether the consumers take tables that they do not know.
    ///   - connection: Where to ask.
    /// - Returns: A line each, with what works instead.
    /// - Throws: What the server says.
    static func findings(
        consents: Bool,
        on connection: PostgresConnection
    ) async throws -> [Finding] {
        try await connection.query(query).rows.map { row in
            let consumers = row["slots"].map { "slot \($0)" } ?? "none at the moment"
            let isHarmless = consents || row["slots"] == nil
            return Finding(
                isHarmless ? .warn : .refuse,
                "publication \(try row.string("publication"))",
                "it sends every new table to its consumers (\(consumers)): those of each generation and "
                    + "of the schema 'reprise'. A subscriber that lacks one stops for all its tables, "
                    + "for ever"
                    + (isHarmless
                        ? ""
                        : ". Publish the schemas of the application instead: "
                            + (try row.string("instead"))
                            + ". For consumers that pass over tables they do not know there is "
                            + "'--publish-new-tables'")
            )
        }
    }

    /// Fails before new tables are made that nobody has consented to send.
    ///
    /// - Parameters:
    ///   - projection: What the command works on, for the message.
    ///   - consents: As above.
    ///   - connection: Where to ask.
    /// - Throws: ``ReadModelError/refusedByPlan(projection:reasons:)``; what the server says.
    static func assertNone(
        for projection: String,
        consents: Bool,
        on connection: PostgresConnection
    ) async throws {
        let refusals = try await findings(consents: consents, on: connection).filter {
            $0.level == .refuse
        }
        guard refusals.isEmpty else {
            throw ReadModelError.refusedByPlan(
                projection: projection,
                reasons: refusals.map(\.text)
            )
        }
    }

    // A slot does not say of which publication it is; one of `pgoutput` can be of each. Without a slot a
    // subscription begins with a look at all tables, and fails at once.
    private static let query = """
        SELECT pg_catalog.quote_ident(p.pubname) AS publication,
            (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(s.slot_name), ', '
                ORDER BY s.slot_name) FROM pg_catalog.pg_replication_slots AS s
             WHERE s.slot_type = 'logical' AND s.plugin = 'pgoutput'
                AND s.database = pg_catalog.current_database()) AS slots,
            CASE WHEN p.puballtables THEN pg_catalog.format(
                'BEGIN; DROP PUBLICATION %1$I; CREATE PUBLICATION %1$I FOR TABLES IN SCHEMA %2$s '
                || 'WITH (publish = %3$L, publish_via_partition_root = %4$s); COMMIT', p.pubname,
                (SELECT coalesce(pg_catalog.string_agg(DISTINCT pg_catalog.quote_ident(n.nspname), ', '),
                    'public')
                 FROM pg_catalog.pg_class AS c
                 JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
                 WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p'
                    AND n.nspname !~ '^pg_|^information_schema$|^reprise$|__g[0-9]+$'),
                pg_catalog.concat_ws(', ', CASE WHEN p.pubinsert THEN 'insert' END,
                    CASE WHEN p.pubupdate THEN 'update' END, CASE WHEN p.pubdelete THEN 'delete' END,
                    CASE WHEN p.pubtruncate THEN 'truncate' END), p.pubviaroot::pg_catalog.text)
            ELSE pg_catalog.format('ALTER PUBLICATION %I DROP TABLES IN SCHEMA reprise', p.pubname)
            END AS instead
        FROM pg_catalog.pg_publication AS p
        WHERE (p.pubinsert OR p.pubupdate OR p.pubdelete)
            AND (p.puballtables OR EXISTS (SELECT FROM pg_catalog.pg_publication_namespace AS s
                JOIN pg_catalog.pg_namespace AS n ON n.oid = s.pnnspid
                WHERE s.pnpubid = p.oid AND n.nspname = 'reprise'))
        ORDER BY p.pubname
        """
}
