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
            let consumers = try Consumers(row, of: connection)
            let isHarmless = consents || consumers.areNone
            return Finding(
                isHarmless ? .warn : .refuse,
                "publication \(try row.string("publication"))",
                "it sends every new table to its consumers (\(consumers.text)): those of each generation and "
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

    /// The same for tables that the live schema does not have yet, where a publication is of that schema.
    ///
    /// - Parameters:
    ///   - tables: Their names.
    ///   - schema: The live schema.
    ///   - consents: As above.
    ///   - connection: Where to ask.
    /// - Returns: A line for each publication.
    /// - Throws: What the server says.
    static func findings(
        ofNew tables: [String],
        in schema: String,
        consents: Bool,
        on connection: PostgresConnection
    ) async throws -> [Finding] {
        guard !tables.isEmpty else { return [] }
        let names = tables.sorted().map { QualifiedName(schema: schema, name: $0).sql }
            .joined(separator: ", ")
        return try await connection.query(schemaQuery, [.text(schema)]).rows.map { row in
            let consumers = try Consumers(row, of: connection)
            let isHarmless = consents || consumers.areNone
            return Finding(
                isHarmless ? .warn : .refuse,
                "publication \(try row.string("publication"))",
                "it is of the schema, and sends what is new there to its consumers (\(consumers.text)): "
                    + "\(names). A subscriber that lacks one of them stops for all its tables, for ever"
                    + (isHarmless
                        ? ""
                        : ". Make them there first, then rebuild with '--publish-new-tables', as "
                            + "docs/guide/your-server/subscribers.md says")
            )
        }
    }

    /// Who consumes a publication.
    private struct Consumers {
        let text: String
        let areNone: Bool

        init(_ row: QueryRow, of connection: PostgresConnection) throws {
            // Slots on a standby, which there are from PostgreSQL 16 on, are known there alone.
            let mayBeElsewhere =
                try row.bool("feeds_standbys") && connection.serverVersion >= 160_000
            areNone = row["slots"] == nil && !mayBeElsewhere
            text =
                row["slots"].map { "slot \($0)" }
                ?? (mayBeElsewhere ? "none here; a standby may have some" : "none at the moment")
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
    private static let consumers = """
        (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(s.slot_name), ', '
            ORDER BY s.slot_name) FROM pg_catalog.pg_replication_slots AS s
         WHERE s.slot_type = 'logical' AND s.plugin = 'pgoutput'
            AND s.database = pg_catalog.current_database()) AS slots,
        EXISTS (SELECT FROM pg_catalog.pg_stat_replication AS r
            WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_replication_slots AS s
                WHERE s.active_pid = r.pid AND s.slot_type = 'logical')) AS feeds_standbys
        """

    private static let schemaQuery = """
        SELECT pg_catalog.quote_ident(p.pubname) AS publication, \(consumers)
        FROM pg_catalog.pg_publication AS p
        JOIN pg_catalog.pg_publication_namespace AS s ON s.pnpubid = p.oid
        JOIN pg_catalog.pg_namespace AS n ON n.oid = s.pnnspid AND n.nspname = $1
        WHERE p.pubinsert OR p.pubupdate OR p.pubdelete
        ORDER BY p.pubname
        """

    private static let query = """
        SELECT pg_catalog.quote_ident(p.pubname) AS publication, \(consumers),
            CASE WHEN p.puballtables THEN pg_catalog.format(
                'BEGIN; DROP PUBLICATION %1$I; CREATE PUBLICATION %1$I FOR TABLES IN SCHEMA %2$s '
                || 'WITH (publish = %3$L, publish_via_partition_root = %4$s%5$s);%6$s '
                || 'ALTER PUBLICATION %1$I OWNER TO %7$I; COMMIT', p.pubname,
                (SELECT coalesce(pg_catalog.string_agg(DISTINCT pg_catalog.quote_ident(n.nspname), ', '),
                    'public')
                 FROM pg_catalog.pg_class AS c
                 JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
                 WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p'
                    AND n.nspname !~ '^pg_|^information_schema$|^reprise$|__g[0-9]+$'),
                pg_catalog.concat_ws(', ', CASE WHEN p.pubinsert THEN 'insert' END,
                    CASE WHEN p.pubupdate THEN 'update' END, CASE WHEN p.pubdelete THEN 'delete' END,
                    CASE WHEN p.pubtruncate THEN 'truncate' END), p.pubviaroot::pg_catalog.text,
                -- PostgreSQL 18.
                CASE pg_catalog.to_jsonb(p) ->> 'pubgencols' WHEN 's'
                    THEN ', publish_generated_columns = stored' END,
                ' COMMENT ON PUBLICATION ' || pg_catalog.quote_ident(p.pubname) || ' IS '
                    || pg_catalog.quote_literal(pg_catalog.obj_description(p.oid, 'pg_publication'))
                    || ';',
                pg_catalog.pg_get_userbyid(p.pubowner))
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
