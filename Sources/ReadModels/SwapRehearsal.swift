import Postgres

/// Tries what a swap would do, in a transaction that is rolled back, without a lock on a live
/// table: each captured text is run where the shadow tables answer to the live tables' names.
struct SwapRehearsal: Sendable {
    let live: LiveTables
    let liveSchema: String
    let homeSchema: String
    /// The shadow tables, by name.
    let shadows: [TableDescription]
    let consent: CarryOverConsent

    /// A line for everything that hangs on the live tables.
    ///
    /// - Precondition: The shadow tables are in the home schema, with their keys.
    func findings(on connection: PostgresConnection) async throws -> [Finding] {
        var findings = try await Hazard.ofSwap(live.oids, consent: consent, on: connection)
        findings += try await SwapPreflight(
            live: live,
            liveSchema: liveSchema,
            homeSchema: homeSchema
        ).findings(on: connection)
        findings += try await leaving(on: connection)
        findings += try await changedColumns(on: connection)
        let kept = live.tables.filter { table in
            shadows.contains { $0.name.name == table.name.name }
        }.map(\.oid)
        let relative = CarriedObject.Wording.relative(liveSchema: liveSchema)
        let attachments = try await TableAttachments.capture(
            on: kept,
            wording: relative,
            on: connection
        )
        for object in attachments {
            findings.append(try await rehearse(object, object.restore, on: connection))
        }
        findings += try await materializedViews(on: connection)
        findings += try await views(on: connection)
        let outside = try await OutsideDependants.capture(
            on: live.oids,
            wording: relative,
            on: connection
        )
        for object in outside {
            findings.append(try await rehearse(outside: object, on: connection))
        }
        findings += try await republished(kept, on: connection)
        if consent.recreatesIncomingForeignKeys {
            findings += try await IncomingForeignKeys.capture(to: live.oids, on: connection)
                .map(\.finding)
        }
        return findings
    }

    private func republished(
        _ tables: [UInt32],
        on connection: PostgresConnection
    ) async throws -> [Finding] {
        guard consent.republishes else { return [] }
        let relative = CarriedObject.Wording.relative(liveSchema: liveSchema)
        var findings: [Finding] = []
        for object in try await Publications.capture(of: tables, wording: relative, on: connection)
        {
            let finding = try await rehearse(object, object.restore, on: connection)
            findings.append(
                finding.level == .ok
                    ? Finding(.warn, object.subject, object.note) : finding
            )
        }
        return findings
    }

    /// Runs statements with the home schema first on the search path, and undoes them.
    private func rehearse(
        _ object: CarriedObject,
        _ statements: [String],
        on connection: PostgresConnection
    ) async throws -> Finding {
        try await connection.setSearchPath([homeSchema, liveSchema])
        try await connection.execute("SAVEPOINT rehearsal")
        do {
            for statement in statements { try await connection.execute(statement) }
            try await connection.execute("ROLLBACK TO rehearsal")
            return object.finding
        } catch let error as ServerError {
            try await connection.execute("ROLLBACK TO rehearsal")
            return Finding(
                .refuse,
                object.subject,
                "it cannot be carried over to the new tables: \(error.message). Drop it or change it "
                    + "on the live table, or give the new tables what it needs"
            )
        }
    }

    /// Tries an object that stands on a relation of others on a stand-in with the same columns.
    ///
    /// The relation itself would be locked against its readers.
    private func rehearse(
        outside object: CarriedObject,
        on connection: PostgresConnection
    ) async throws -> Finding {
        guard let host = object.host else {
            return try await rehearse(object, object.restore, on: connection)
        }
        try await connection.setSearchPath([liveSchema])
        let row = try await connection.query(
            """
            SELECT c.relname, c.relkind = 'v' AS is_view,
                pg_catalog.pg_table_is_visible(c.oid) AS is_visible, EXISTS (
                    SELECT FROM pg_catalog.pg_class AS o
                    JOIN pg_catalog.pg_namespace AS n ON n.oid = o.relnamespace
                    WHERE n.nspname = $2 AND o.relname = c.relname) AS is_taken
            FROM pg_catalog.pg_class AS c WHERE c.oid = $1::pg_catalog.regclass
            """,
            [.text(host), .text(homeSchema)]
        ).first
        // One of another schema is named with it in the text, where no stand-in can answer.
        guard let row, try row.bool("is_visible"), try !row.bool("is_taken") else {
            return object.finding
        }
        let standIn = QualifiedName(schema: homeSchema, name: try row.string("relname")).sql
        let source = QualifiedName(schema: liveSchema, name: try row.string("relname")).sql
        let creation =
            try row.bool("is_view")
            ? "CREATE VIEW \(standIn) AS SELECT * FROM \(source)"
            : "CREATE TABLE \(standIn) (LIKE \(source))"
        return try await rehearse(
            object,
            [creation] + object.restore.map(Self.creation),
            on: connection
        )
    }

    /// A statement that alters a policy as one that makes it.
    private static func creation(of statement: String) -> String {
        let alteration = "ALTER POLICY"
        guard statement.hasPrefix(alteration) else { return statement }
        return "CREATE POLICY" + statement.dropFirst(alteration.count)
    }

    private func materializedViews(on connection: PostgresConnection) async throws -> [Finding] {
        let views = try await MaterializedView.over(
            live.oids,
            searchPath: [liveSchema],
            on: connection
        )
        var findings: [Finding] = []
        for view in views {
            let script = try await view.twin(in: homeSchema, isFilled: false, on: connection)
            let object = CarriedObject(
                subject: "materialized view \(view.name.sql)",
                note: "filled from the new tables beforehand, and moved with them"
            )
            let finding = try await rehearse(object, script, on: connection)
            findings.append(finding)
            // Views over it are rehearsed over its twin.
            guard finding.level == .ok else { continue }
            try await connection.setSearchPath([homeSchema, liveSchema])
            for statement in script { try await connection.execute(statement) }
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

    /// What hangs on tables that the new generation does not have.
    private func leaving(on connection: PostgresConnection) async throws -> [Finding] {
        let tables = live.tables.filter { table in
            !shadows.contains { $0.name.name == table.name.name }
        }.map(\.oid)
        let wording = CarriedObject.Wording.qualified
        let objects =
            try await OutsideDependants.capture(on: tables, wording: wording, on: connection)
            + Publications.capture(of: tables, wording: wording, on: connection)
            + IncomingForeignKeys.capture(to: tables, on: connection)
        return objects.map {
            Finding(.refuse, $0.subject, "it needs a table that the new generation does not have")
        }
    }
}

extension SwapRehearsal {
    /// Makes each view over the shadow tables, to see whether it can follow.
    ///
    /// The innermost come first, so that an outer one finds its twin.
    private func views(on connection: PostgresConnection) async throws -> [Finding] {
        var findings: [Finding] = []
        for view in try await DependentView.over(live.oids, on: connection).reversed() {
            findings.append(try await rehearse(view, on: connection))
        }
        return findings
    }

    private func rehearse(
        _ view: DependentView,
        on connection: PostgresConnection
    ) async throws -> Finding {
        try await connection.setSearchPath([liveSchema])
        let unqualified = try await connection.query(
            "SELECT pg_catalog.pg_get_viewdef($1::pg_catalog.oid) AS definition",
            [.int(Int64(view.oid))]
        ).first?.string("definition")
        try await connection.setSearchPath([homeSchema, liveSchema])
        try await connection.execute("SAVEPOINT view")
        let subject = view.carried.subject
        var finding = view.carried.finding
        do {
            let twin = QualifiedName(schema: homeSchema, name: "reprise view \(view.oid)")
            try await connection.execute("CREATE VIEW \(twin.sql) AS \(unqualified ?? "")")
            if try await !connection.isReplaceable(view.oid, by: twin) {
                finding = Finding(
                    .refuse,
                    subject,
                    "its columns would change name or type, which CREATE OR REPLACE VIEW cannot do"
                )
            }
            for table in try await connection.tables(live.oids, below: twin) {
                finding = Finding(
                    .refuse,
                    subject,
                    "it reads \(table), which the new generation does not have"
                )
            }
        } catch let error as ServerError {
            finding = Finding(.refuse, subject, "it cannot be made over the new tables: \(error)")
        }
        try await connection.execute("ROLLBACK TO view")
        return finding
    }
}

extension CarriedObject {
    /// The line of a plan that says how it is carried over.
    var finding: Finding { Finding(.ok, subject, note) }
}

extension PostgresConnection {
    /// Whether every column of `view` is there in `twin`, at the same place, with the same name,
    /// type and collation.
    fileprivate func isReplaceable(_ view: UInt32, by twin: QualifiedName) async throws -> Bool {
        let differing = try await query(
            """
            SELECT FROM pg_catalog.pg_attribute AS a
            LEFT JOIN pg_catalog.pg_attribute AS b
                ON b.attrelid = $2::pg_catalog.regclass AND b.attnum = a.attnum
            WHERE a.attrelid = $1::pg_catalog.oid AND a.attnum > 0
                AND (a.attname, a.atttypid, a.atttypmod, a.attcollation)
                    IS DISTINCT FROM (b.attname, b.atttypid, b.atttypmod, b.attcollation)
            """,
            [.int(Int64(view)), .text(twin.sql)]
        )
        return differing.rows.isEmpty
    }

    /// Those of the tables that a view reads directly.
    fileprivate func tables(_ tables: [UInt32], below view: QualifiedName) async throws -> [String]
    {
        try await query(
            """
            SELECT DISTINCT d.refobjid::pg_catalog.regclass AS name
            FROM pg_catalog.pg_depend AS d
            JOIN pg_catalog.pg_rewrite AS r ON r.oid = d.objid
            WHERE r.ev_class = $1::pg_catalog.regclass
                AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
                AND d.refobjid = ANY ($2::pg_catalog.oid[]) ORDER BY 1
            """,
            [.text(view.sql), .ints(tables.map { Int64($0) })]
        ).rows.map { try $0.string("name") }
    }
}
