import Postgres

/// The grants on a relation, as statements for its twin.
///
/// No entry at all means what PostgreSQL gives by default: everything to the owner, nothing to
/// others.
struct TableRights: Sendable {
    /// Statements for what the owner gave before anybody passed it on.
    var byOwner: [String] = []
    /// Statements for the rest, in the order of the live relation's list, in which each has the right to.
    ///
    /// What others passed on is run in its grantor's role, because the server records who granted; they
    /// need the relation to be where its grantors may look it up, which is the live schema.
    var byOthers: [String] = []

    /// Reads the grants on `source`.
    ///
    /// - Parameters:
    ///   - source: The relation that has them: a table, materialized view or sequence.
    ///   - target: Its twin, which has no grants and the same owner.
    ///   - home: The twin's name now.
    ///   - live: The twin's name after the cut-over.
    ///   - connection: Where to ask.
    /// - Returns: The statements.
    /// - Throws: The server's error.
    static func copy(
        from source: UInt32,
        to target: UInt32,
        at home: QualifiedName,
        thereafter live: QualifiedName,
        on connection: PostgresConnection
    ) async throws -> TableRights {
        let grants = ordered(
            try await connection.query(grantsQuery, [.int(Int64(source))]).rows.map(Grant.init)
        )
        // The server lists grants in the order in which they were given.
        var passedOn: Set<String?> = []
        var early: [Grant] = []
        var late: [Grant] = []
        for grant in grants {
            if !grant.isByOwner { passedOn.insert(grant.column) }
            if passedOn.contains(grant.column) { late.append(grant) } else { early.append(grant) }
        }
        return TableRights(
            byOwner: try await ownersShare(from: source, to: target, named: home, on: connection)
                + statements(early, on: home),
            byOthers: statements(late, on: live)
        )
    }

    /// One privilege of one grantee, from one grantor.
    private struct Grant {
        let column: String?
        let privilege: String
        let grantor: String
        let isByOwner: Bool
        /// Nil for everybody.
        let grantee: String?
        let isGrantable: Bool

        init(_ row: QueryRow) throws {
            column = row["column_name"]
            privilege = try row.string("privilege")
            grantor = try row.string("grantor")
            isByOwner = try row.bool("is_by_owner")
            grantee = row["grantee"]
            isGrantable = try row.bool("grantable")
        }

        /// Whether one statement can give both.
        func isLike(_ other: Grant) -> Bool {
            column == other.column && grantor == other.grantor && isGrantable == other.isGrantable
        }

        /// Whether its grantor may give it, by what was given before.
        func isAllowed(by given: Set<[String?]>) -> Bool {
            isByOwner || given.contains([grantor, privilege, nil])
                || given.contains([grantor, privilege, column])
        }
    }

    /// Grants in the order in which they were given, as far as each grantor has the right by then.
    private static func ordered(_ grants: [Grant]) -> [Grant] {
        var given: Set<[String?]> = []
        var ordered: [Grant] = []
        var waiting = grants
        while !waiting.isEmpty {
            var later: [Grant] = []
            for grant in waiting {
                guard grant.isAllowed(by: given) else {
                    later.append(grant)
                    continue
                }
                ordered.append(grant)
                if grant.isGrantable {
                    given.insert([grant.grantee, grant.privilege, grant.column])
                }
            }
            guard later.count < waiting.count else { return ordered + later }
            waiting = later
        }
        return ordered
    }

    /// Privileges that roles got from the same grantor.
    private struct Bundle {
        let first: Grant
        var privileges: [String]
        var grantees: [String?]

        init(_ grant: Grant) {
            first = grant
            privileges = [grant.privilege]
            grantees = [grant.grantee]
        }

        func statement(on name: QualifiedName) -> String {
            let columns = first.column.map { " (\(SQLText.identifier($0)))" } ?? ""
            let option = first.isGrantable ? " WITH GRANT OPTION" : ""
            let privileges = privileges.map { $0 + columns }.joined(separator: ", ")
            let grantees = grantees.map(TableRights.grantee).joined(separator: ", ")
            return "GRANT \(privileges) ON TABLE \(name.sql) TO \(grantees)\(option)"
        }
    }

    /// One statement for all who got the same one after the other: a list of thousands of roles is
    /// written as often as there are statements.
    private static func statements(_ grants: [Grant], on name: QualifiedName) -> [String] {
        var bundles: [Bundle] = []
        for grant in grants {
            if let last = bundles.last, last.first.isLike(grant), last.grantees == [grant.grantee] {
                bundles[bundles.count - 1].privileges.append(grant.privilege)
            } else {
                bundles.append(Bundle(grant))
            }
        }
        var merged: [Bundle] = []
        for bundle in bundles {
            if let last = merged.last, last.first.isLike(bundle.first),
                last.privileges == bundle.privileges
            {
                merged[merged.count - 1].grantees += bundle.grantees
            } else {
                merged.append(bundle)
            }
        }
        return merged.flatMap { bundle in
            let statement = bundle.statement(on: name)
            guard !bundle.first.isByOwner else { return [statement] }
            return [
                "SET LOCAL ROLE \(SQLText.identifier(bundle.first.grantor))", statement,
                "RESET ROLE",
            ]
        }
    }

    /// Statements for an owner who gave up some of an owner's own privileges.
    private static func ownersShare(
        from source: UInt32,
        to target: UInt32,
        named name: QualifiedName,
        on connection: PostgresConnection
    ) async throws -> [String] {
        let result = try await connection.query(
            """
            SELECT c.oid, pg_catalog.pg_get_userbyid(c.relowner) AS owner, (
                SELECT pg_catalog.string_agg(a.privilege_type, ', ' ORDER BY a.privilege_type)
                FROM pg_catalog.aclexplode(coalesce(c.relacl, pg_catalog.acldefault(
                    CASE c.relkind WHEN 'S' THEN 's'::"char" ELSE 'r'::"char" END,
                    c.relowner))) AS a
                WHERE a.grantee = c.relowner) AS privileges
            FROM pg_catalog.pg_class AS c WHERE c.oid = ANY ($1::pg_catalog.oid[])
            """,
            [.ints([Int64(source), Int64(target)])]
        )
        let from = try result.rows.first { try $0.int("oid") == Int64(source) }
        let to = try result.rows.first { try $0.int("oid") == Int64(target) }
        guard let from, from["privileges"] != to?["privileges"] else { return [] }
        let owner = SQLText.identifier(try from.string("owner"))
        return ["REVOKE ALL ON TABLE \(name.sql) FROM \(owner)"]
            + (from["privileges"].map { ["GRANT \($0) ON TABLE \(name.sql) TO \(owner)"] } ?? [])
    }

    /// Statements that take everything from everybody but the owner: default privileges may have
    /// given rights on a relation that its live twin does not give.
    static func revocation(
        of relation: UInt32,
        named target: QualifiedName,
        on connection: PostgresConnection
    ) async throws -> [String] {
        let grants = try await connection.query(grantsQuery, [.int(Int64(relation))]).rows.map(
            Grant.init
        )
        // Who has a right on the table may pass it on for a column, and the server finds that only by
        // a right on the column.
        let lent = grants.filter { !$0.isByOwner }.compactMap { grant in
            grant.column.map { column in
                "GRANT \(grant.privilege) (\(SQLText.identifier(column))) ON TABLE \(target.sql) TO "
                    + "\(SQLText.identifier(grant.grantor)) WITH GRANT OPTION"
            }
        }
        let holders = Set(
            grants.map { grant in
                grant.isByOwner ? grantee(grant.grantee) : SQLText.identifier(grant.grantor)
            }
        )
        guard !holders.isEmpty else { return [] }
        // CASCADE takes along what those roles have passed on, of this relation alone.
        return lent + [
            "REVOKE ALL ON TABLE \(target.sql) FROM \(holders.sorted().joined(separator: ", ")) "
                + "CASCADE"
        ]
    }

    /// Captures what is given on the row types of tables and materialized views, and said of them.
    static func ofRowTypes(
        _ relations: [UInt32],
        on connection: PostgresConnection
    ) async throws -> [CarriedObject] {
        try await CarriedObject.ask(rowTypesQuery, of: relations, on: connection)
    }

    private static let rowTypesQuery = """
        SELECT pg_catalog.format('row type of %s', c.oid::pg_catalog.regclass) AS subject,
            'its rights and comment are those of the new one' AS note, NULL AS locked, NULL AS release,
            CASE WHEN t.typacl IS NOT NULL THEN pg_catalog.format(
                'REVOKE ALL ON TYPE %s FROM PUBLIC', c.oid::pg_catalog.regclass) END AS restore_1,
            (SELECT pg_catalog.string_agg(pg_catalog.format(
                    CASE WHEN a.grantor = t.typowner THEN 'GRANT USAGE ON TYPE %2$s TO %3$s%4$s'
                        ELSE 'SET LOCAL ROLE %1$I; GRANT USAGE ON TYPE %2$s TO %3$s%4$s; RESET ROLE' END,
                    pg_catalog.pg_get_userbyid(a.grantor), c.oid::pg_catalog.regclass,
                    CASE a.grantee WHEN 0 THEN 'PUBLIC'
                        ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END,
                    CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' END), '; ' ORDER BY a.place)
                FROM pg_catalog.aclexplode(t.typacl) WITH ORDINALITY
                    AS a (grantor, grantee, privilege_type, is_grantable, place)
                WHERE a.grantee <> t.typowner) AS restore_2,
            CASE WHEN d.description IS NOT NULL THEN pg_catalog.format(
                'COMMENT ON TYPE %s IS %L', c.oid::pg_catalog.regclass, d.description) END
                AS restore_3
        FROM pg_catalog.pg_class AS c
        JOIN pg_catalog.pg_type AS t ON t.oid = c.reltype
        LEFT JOIN pg_catalog.pg_description AS d ON d.objoid = t.oid
            AND d.classoid = 'pg_catalog.pg_type'::pg_catalog.regclass
        WHERE c.oid = ANY ($1::pg_catalog.oid[])
            AND (t.typacl IS NOT NULL OR d.description IS NOT NULL)
        ORDER BY c.relname
        """

    private static func grantee(_ role: String?) -> String {
        role.map(SQLText.identifier) ?? "PUBLIC"
    }

    private static let grantsQuery = """
        SELECT l.column_name, a.privilege_type AS privilege, r.rolname AS grantee,
            pg_catalog.pg_get_userbyid(a.grantor) AS grantor,
            a.grantor = c.relowner AS is_by_owner, a.is_grantable AS grantable
        FROM pg_catalog.pg_class AS c
        CROSS JOIN LATERAL (
            SELECT 0 AS number, NULL AS column_name, c.relacl AS list
            UNION ALL
            SELECT t.attnum, t.attname, t.attacl FROM pg_catalog.pg_attribute AS t
            WHERE t.attrelid = c.oid AND NOT t.attisdropped) AS l
        CROSS JOIN LATERAL pg_catalog.aclexplode(l.list) WITH ORDINALITY
            AS a (grantor, grantee, privilege_type, is_grantable, place)
        LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = a.grantee
        WHERE c.oid = $1::pg_catalog.oid AND a.grantee <> c.relowner
        ORDER BY l.number, a.place
        """
}

extension PostgresConnection {
    /// Gives new relations to their owner, with all rights of one: event triggers may have changed the one,
    /// and default privileges the others.
    ///
    /// - Parameters:
    ///   - relations: OIDs of them; a sequence of a column belongs to who has the table.
    ///   - owner: A role; nil for the current one.
    /// - Throws: What the server says.
    func own(_ relations: [Int64], by owner: String? = nil) async throws {
        let owners = try await query(
            """
            SELECT pg_catalog.format('ALTER TABLE %I.%I OWNER TO %I', n.nspname, c.relname, o.name)
                AS statement
            FROM pg_catalog.pg_class AS c
            JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
            CROSS JOIN (SELECT coalesce($2, current_user::pg_catalog.text) AS name) AS o
            WHERE c.oid = ANY ($1::pg_catalog.oid[]) AND c.relkind IN ('r', 'p', 'v', 'm')
                AND pg_catalog.pg_get_userbyid(c.relowner) <> o.name
            """,
            [.ints(relations), owner.map { .text($0) } ?? .null]
        )
        for row in owners.rows { try await execute(try row.string("statement")) }
        let rights = try await query(
            """
            SELECT pg_catalog.format('GRANT ALL ON TABLE %I.%I TO %I', n.nspname, c.relname,
                pg_catalog.pg_get_userbyid(c.relowner)) AS statement
            FROM pg_catalog.pg_class AS c
            JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
            WHERE c.oid = ANY ($1::pg_catalog.oid[]) AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
                AND EXISTS (
                    SELECT a.privilege_type FROM pg_catalog.aclexplode(pg_catalog.acldefault(
                        CASE c.relkind WHEN 'S' THEN 's'::"char" ELSE 'r'::"char" END,
                        c.relowner)) AS a
                    WHERE c.relacl IS NOT NULL
                    EXCEPT
                    SELECT a.privilege_type FROM pg_catalog.aclexplode(c.relacl) AS a
                    WHERE a.grantee = c.relowner)
            """,
            [.ints(relations)]
        )
        for row in rights.rows { try await execute(try row.string("statement")) }
    }

    /// Makes a role the owner of a relation.
    ///
    /// An owner needs CREATE on the schema that the relation is in at that moment (manual, ALTER
    /// TABLE), and has it for as long.
    func give(_ noun: String, _ name: QualifiedName, to role: String) async throws {
        let owner = SQLText.identifier(role)
        let schema = SQLText.identifier(name.schema)
        let right = try await query(
            "SELECT pg_catalog.has_schema_privilege($1, $2, 'CREATE') AS has",
            [.text(role), .text(name.schema)]
        ).first
        let change = "ALTER \(noun) \(name.sql) OWNER TO \(owner)"
        guard try right?.bool("has") != true else {
            try await execute(change)
            return
        }
        try await execute(
            """
            GRANT CREATE ON SCHEMA \(schema) TO \(owner);
            \(change);
            REVOKE CREATE ON SCHEMA \(schema) FROM \(owner)
            """
        )
    }
}
