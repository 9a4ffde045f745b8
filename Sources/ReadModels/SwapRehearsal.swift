import Postgres

/// Tries what a swap would do, in a transaction that is rolled back, without a lock on a live table.
struct SwapRehearsal: Sendable {
    let projection: String
    let live: LiveTables
    let liveSchema: String
    let homeSchema: String
    /// The number of the generation that would be built.
    let generation: Int
    /// The shadow tables, by name.
    let shadows: [TableDescription]
    let consent: CarryOverConsent
    /// Milliseconds that a cut-over may hold up readers.
    let budget: Int
    /// The text of `schema.sql`; nil where there is none.
    let schema: String?

    /// A line for everything that is attached to the live tables, and the search paths that some of
    /// these objects need, by their subjects.
    ///
    /// - Precondition: The shadow tables are in the home schema, with their keys.
    func run(
        on connection: PostgresConnection
    ) async throws -> (findings: [Finding], paths: [String: String]) {
        var findings = try await Hazard.ofSwap(live.oids, consent: consent, on: connection)
        findings += try await SwapPreflight(
            live: live,
            liveSchema: liveSchema,
            homeSchema: homeSchema
        ).findings(on: connection)
        findings += try await leaving(on: connection)
        findings += try await changedColumns(on: connection)
        if !consent.acceptsLoss {
            findings += try await ManualLoss(
                live: live,
                liveSchema: liveSchema,
                generation: generation,
                tables: Dictionary(
                    uniqueKeysWithValues: shadows.map { ($0.name.name, $0.oid) }
                ),
                homeSchema: homeSchema
            ).findings(isBack: false, keys: [], on: connection)
        }
        var rehearsal = CarryRehearsal(
            live: live,
            homeSchema: homeSchema,
            tables: Dictionary(uniqueKeysWithValues: shadows.map { ($0.name.name, $0.oid) })
        )
        findings += try await materializedViews(&rehearsal, on: connection)
        let carried = try await rehearsal.carried(consent: consent, on: connection)
        findings += carried.findings + forecast(of: carried)
        findings += try await published(on: connection)
        findings += try await given(on: connection)
        if consent.recreatesIncomingForeignKeys {
            findings += try await IncomingForeignKeys.capture(to: live.oids, on: connection)
                .map(\.finding)
        }
        return (findings, carried.paths)
    }

    /// Makes the twins, empty, so that what reads them can be tried.
    private func materializedViews(
        _ rehearsal: inout CarryRehearsal,
        on connection: PostgresConnection
    ) async throws -> [Finding] {
        var findings: [Finding] = []
        for view in try await MaterializedView.over(live.oids, on: connection) {
            let object = CarriedObject(
                subject: "materialized view \(view.name.sql)",
                note: "filled from the new tables beforehand, and moved with them"
            )
            let twin = try await view.twin(for: rehearsal, on: connection)
            let outcome = try await rehearsal.outcome(of: view, by: twin.creation, on: connection)
                .outcome
            findings.append(outcome.finding(of: object))
            // What reads it is tried on its twin.
            guard case .same(let path) = outcome else { continue }
            try await view.make(twin, under: path, in: &rehearsal, on: connection)
        }
        return try await findings
            + MaterializedView.behindViews(over: live.oids, on: connection).map {
                $0.followUp == nil ? Finding(.warn, $0.subject, $0.note) : $0.finding
            }
    }

    /// Tables whose rows look different from outside.
    private func changedColumns(on connection: PostgresConnection) async throws -> [Finding] {
        let result = try await connection.query(
            """
            SELECT c.relname FROM pg_catalog.pg_class AS c
            JOIN pg_catalog.pg_class AS s ON s.relname = c.relname
                AND s.oid = ANY ($2::pg_catalog.oid[])
            WHERE c.oid = ANY ($1::pg_catalog.oid[]) AND ARRAY(
                SELECT ROW(a.attname, a.atttypid, a.atttypmod)::pg_catalog.text
                FROM pg_catalog.pg_attribute AS a
                WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
            ) <> ARRAY(
                SELECT ROW(a.attname, a.atttypid, a.atttypmod)::pg_catalog.text
                FROM pg_catalog.pg_attribute AS a
                WHERE a.attrelid = s.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum)
            ORDER BY 1
            """,
            [.ints(live.oids.map { Int64($0) }), .ints(shadows.map { Int64($0.oid) })]
        )
        return try result.rows.map {
            Finding(
                .warn,
                "columns of \(try $0.string("relname"))",
                "they change: a session that has prepared SELECT * gets the error 'cached plan must "
                    + "not change result type' (0A000) once; one that names its columns does not"
            )
        }
    }

    /// What tables get that are not live yet, and what event triggers would do in the cut-over.
    private func given(on connection: PostgresConnection) async throws -> [Finding] {
        let names = Set(live.tables.map(\.name.name))
        do {
            let given = try await NewTables(
                projection: projection,
                homeSchema: homeSchema,
                liveSchema: liveSchema,
                tables: shadows.filter { !names.contains($0.name.name) }.map(\.oid),
                schema: live.tables.isEmpty ? schema : nil
            ).given(on: connection)
            let changes = try await CutOverProbe(
                homeSchema: homeSchema,
                liveSchema: liveSchema,
                live: live,
                tables: shadows.map(\.name.name),
                given: given
            ).reasons(on: connection)
            return given.objects.map(\.finding) + given.findings
                + changes.map { Finding(.refuse, nil, $0) }
        } catch ReadModelError.refusedByPlan(_, let reasons) {
            return reasons.map { Finding(.refuse, nil, $0) }
        }
    }

    /// What the cut-over makes again while readers wait, and how long it is likely to take.
    private func forecast(of carried: CarryRehearsal.Carried) -> [Finding] {
        guard carried.objects > 0 else { return [] }
        let expected = Int((carried.milliseconds * Self.batchShare).rounded(.up))
        let what = "\(carried.objects) objects are made again while readers wait, in about "
        let subject = "length of the cut-over"
        guard expected > budget else {
            return [Finding(.ok, subject, what + "\(expected) ms of the \(budget) ms allowed")]
        }
        return [
            Finding(
                .warn,
                subject,
                what
                    + "\(expected) ms, and \(budget) ms are allowed: it is undone when they are over. "
                    + "Allow more with --outage-budget, or drop what of them nobody needs"
            )
        ]
    }

    /// What a cut-over takes for each millisecond of the rehearsal: it locks, releases, makes and compares
    /// each object, but sends nothing to and fro.
    private static let batchShare = 1.5

    /// An event trigger has put the new tables into a publication: a swap would publish them.
    private func published(on connection: PostgresConnection) async throws -> [Finding] {
        let found = try await connection.query(
            """
            SELECT pg_catalog.format('publication %I of %s', p.pubname,
                    r.prrelid::pg_catalog.regclass) AS subject,
                (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(t.evtname), ', '
                    ORDER BY t.evtname)
                 FROM pg_catalog.pg_event_trigger AS t WHERE \(EventTriggers.fires)) AS triggers
            FROM pg_catalog.pg_publication_rel AS r
            JOIN pg_catalog.pg_publication AS p ON p.oid = r.prpubid
            WHERE r.prrelid = ANY ($1::pg_catalog.oid[]) ORDER BY 1
            """,
            [.ints(shadows.map { Int64($0.oid) })]
        )
        return try found.rows.map { row in
            let triggers = row["triggers"] ?? "which is gone by now"
            return Finding(
                .refuse,
                try row.string("subject"),
                "an event trigger (\(triggers)) puts each new table there, and a swap would publish it "
                    + "with all its changes. Type ALTER EVENT TRIGGER … DISABLE for the time of a "
                    + "rebuild, or let its function pass over schemas like \(homeSchema)"
            )
        }
    }

    /// What hangs on tables that the new generation does not have.
    private func leaving(on connection: PostgresConnection) async throws -> [Finding] {
        let tables = live.tables.filter { table in
            !shadows.contains { $0.name.name == table.name.name }
        }.map(\.oid)
        let objects =
            try await OutsideDependants.capture(on: tables, on: connection)
            + Publications.capture(of: tables, on: connection)
            + IncomingForeignKeys.capture(to: tables, on: connection)
        return objects.map {
            Finding(.refuse, $0.subject, "it needs a table that the new generation does not have")
        }
    }
}

extension CarriedObject {
    /// The line of a plan that says how it is carried over.
    var finding: Finding { Finding(.ok, subject, note) }
}
