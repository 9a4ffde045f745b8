import Postgres

/// Captures what hangs on the live tables, and prepares the tables that come, while nobody waits.
///
/// An attempt of a swap and the rehearsal in a plan go through the same steps; the plan is rolled
/// back.
struct SwapDraft: Sendable {
    let liveSchema: String
    let target: GenerationRecord
    let live: LiveTables
    /// The largest values in columns with a sequence, by sequence.
    let maxima: [UInt32: Int64]
    /// Search paths of those objects that need one, by their subjects.
    let paths: [String: String]
    /// The text of `schema.sql`; nil where there is none.
    let schema: String?

    /// What the batch is made of.
    struct Captured: Sendable {
        /// Views that are pointed at the new tables, outermost first.
        var views: [DependentView] = []
        /// What is carried over, in the order in which it is restored.
        var objects: [CarriedObject] = []
        var pairs: [Pair] = []
        /// Materialized views that leave.
        var materializedViews: [MaterializedView] = []
        var statistics: [StatisticsMove] = []
        /// Foreign keys that the generation that leaves gets back when it returns, by table, as JSON.
        var leavingKeys: [String: String] = [:]
        /// OIDs of relations of others that are locked with the live ones.
        var outside: [UInt32] = []
        /// What the objects' expressions have to mean when they are made again.
        var meanings: [(tree: StoredTree, digest: String, subject: String)] = []
        /// The names of those that fire.
        var eventTriggers: [String] = []
    }

    /// A relation that leaves and the one that takes its place.
    struct Pair: Sendable {
        let live: UInt32
        let liveName: QualifiedName
        let owner: String
        let target: UInt32
        let isTable: Bool

        /// The word of ALTER for it.
        var noun: String { isTable ? "TABLE" : "MATERIALIZED VIEW" }
    }

    /// A statistics object, which does not follow its table into another schema.
    struct StatisticsMove: Equatable, Sendable {
        let name: QualifiedName
        let schema: String
        let isLeaving: Bool
    }

    /// Does both.
    ///
    /// - Parameter connection: Inside a transaction in which the tables that come are locked.
    /// - Returns: What the batch is made of.
    /// - Throws: The server's error; ``ReadModelError/changedMeanwhile(projection:reason:)`` when a
    ///   materialized view has no twin.
    func prepare(on connection: PostgresConnection) async throws -> Captured {
        var captured = Captured()
        captured.eventTriggers = try await EventTriggers.names(on: connection)
        captured.materializedViews = try await MaterializedView.over(
            live.oids,
            on: connection
        )
        captured.pairs = try pairs(captured.materializedViews)
        let kept = captured.pairs.filter(\.isTable).map(\.live)
        let group = live.oids + captured.materializedViews.map(\.oid)
        let targetTables = target.tables.map(\.oid)
        try await TableAttachments.remove(from: targetTables, on: connection)
        let rights = try await prepareRights(captured.pairs, on: connection)
        let sequences = try await prepareSequences(on: connection)
        captured.statistics = try await statistics(
            leaving: group,
            arriving: Set(targetTables + captured.pairs.map(\.target)),
            on: connection
        )
        captured.views = try await DependentView.over(group, on: connection)
        let given = try await newTables(besides: captured.pairs).given(on: connection)
        for statement in given.preparation { try await connection.execute(statement) }
        captured.objects = sequences.objects + rights + given.objects
        captured.objects += try await TableRights.ofRowTypes(
            captured.pairs.map(\.live),
            on: connection
        )
        captured.objects += try await TableAttachments.capture(
            on: kept,
            on: connection
        )
        captured.objects += captured.views.reversed().map(\.carried)
        captured.objects += try await OutsideDependants.capture(on: group, on: connection)
        captured.objects += try await Publications.capture(of: kept, on: connection)
        let leaving = try await OutgoingForeignKey.find(
            of: live.oids,
            besides: live.oids,
            on: connection
        )
        captured.leavingKeys = try Dictionary(grouping: leaving, by: \.table).mapValues {
            try $0.json
        }
        captured.objects += try await OutgoingForeignKey.carried(
            leaving,
            to: target,
            in: liveSchema,
            on: connection
        )
        captured.objects += try await IncomingForeignKeys.capture(to: live.oids, on: connection)
        captured.objects += try await TableAttachments.captureConstraintTriggers(
            on: kept,
            on: connection
        )
        captured.objects += try await MaterializedView.behindViews(
            over: live.oids,
            twins: target.materializedViews,
            on: connection
        )
        captured.outside = try await outside(captured.objects, on: connection)
        for index in captured.objects.indices {
            captured.objects[index].path = paths[captured.objects[index].subject]
        }
        captured.meanings =
            try await meanings(of: captured, sequences.twins, on: connection) + given.meanings
        return captured
    }

    private func newTables(besides pairs: [Pair]) -> NewTables {
        let known = Set(pairs.map(\.target))
        return NewTables(
            projection: target.projection,
            homeSchema: target.homeSchema,
            liveSchema: liveSchema,
            tables: target.tables.map(\.oid).filter { !known.contains($0) },
            foreignKeys: target.tables.flatMap(\.foreignKeys),
            schema: live.tables.isEmpty ? schema : nil
        )
    }

    /// What has to be found when everything is made again: the same expressions, of the relations that
    /// came, and the same views and functions, of the same owners.
    private func meanings(
        of captured: Captured,
        _ sequences: [(live: UInt32, target: UInt32, name: String)],
        on connection: PostgresConnection
    ) async throws -> [(tree: StoredTree, digest: String, subject: String)] {
        let objects = captured.objects.flatMap { object in
            object.trees.map { (tree: $0, subject: object.subject) }
        }
        let views = captured.views.map { view in
            (
                tree: StoredTree(kind: .relation, host: view.oid, name: ""),
                subject: view.carried.subject
            )
        }
        let all = objects + views
        let found = try await StoredTree.meanings(of: all.map(\.tree), on: connection)
        let pairs = captured.pairs.map { ($0.live, $0.target) }
        let successors = try await Successors(
            pairs + sequences.map { ($0.live, $0.target) },
            on: connection
        )
        let hosts = Dictionary(pairs) { first, _ in first }
        let wanted = all.compactMap { tree, subject in
            found[tree].map { (tree, $0.mapped(by: successors), subject) }
        }
        let digests = try await Meaning.digests(of: wanted.map(\.1), on: connection)
        return zip(wanted, digests).map { entry, digest in
            let (tree, _, subject) = entry
            return (tree.moved(to: hosts[tree.host] ?? tree.host), digest, subject)
        }
    }

    private func outside(
        _ objects: [CarriedObject],
        on connection: PostgresConnection
    ) async throws -> [UInt32] {
        try await connection.query(
            """
            SELECT t.name::pg_catalog.regclass::pg_catalog.oid AS oid
            FROM pg_catalog.unnest($1::pg_catalog.text[]) AS t (name)
            """,
            [.texts(objects.compactMap(\.locked))]
        ).rows.map { UInt32(try $0.int("oid")) }
    }

    private func pairs(_ views: [MaterializedView]) throws -> [Pair] {
        let tables = live.tables.compactMap { table in
            target.tables.first { $0.name == table.name.name }.map {
                Pair(
                    live: table.oid,
                    liveName: table.name,
                    owner: table.owner,
                    target: $0.oid,
                    isTable: true
                )
            }
        }
        return try tables
            + views.map { view in
                guard
                    let twin = target.materializedViews.first(where: { $0.name == view.name.name })
                else {
                    throw ReadModelError.changedMeanwhile(
                        projection: target.projection,
                        reason: "the materialized view \(view.name.sql) was made since the "
                            + "cut-over began"
                    )
                }
                return Pair(
                    live: view.oid,
                    liveName: view.name,
                    owner: view.owner,
                    target: twin.oid,
                    isTable: false
                )
            }
    }

    /// Gives the relations that come owner and grants of their live twins.
    ///
    /// - Returns: What can only be granted when they are in the live schema.
    private func prepareRights(
        _ pairs: [Pair],
        on connection: PostgresConnection
    ) async throws -> [CarriedObject] {
        try await connection.setSearchPath([])
        let targets = try await Catalogue.tables(oids: pairs.map(\.target), on: connection)
        let owners = Dictionary(uniqueKeysWithValues: targets.map { ($0.oid, $0.owner) })
        var objects: [CarriedObject] = []
        for pair in pairs {
            let home = QualifiedName(schema: target.homeSchema, name: pair.liveName.name)
            if owners[pair.target] != pair.owner {
                try await connection.give(pair.noun, home, to: pair.owner)
            }
            objects += try await copyRights(
                from: pair.live,
                to: pair.target,
                at: home,
                thereafter: pair.liveName,
                on: connection
            )
        }
        return objects
    }

    private func copyRights(
        from source: UInt32,
        to twin: UInt32,
        at home: QualifiedName,
        thereafter name: QualifiedName,
        on connection: PostgresConnection
    ) async throws -> [CarriedObject] {
        for statement in try await TableRights.revocation(of: twin, named: home, on: connection) {
            try await connection.execute(statement)
        }
        let rights = try await TableRights.copy(
            from: source,
            to: twin,
            at: home,
            thereafter: name,
            on: connection
        )
        for statement in rights.byOwner { try await connection.execute(statement) }
        guard !rights.byOwner.isEmpty || !rights.byOthers.isEmpty else { return [] }
        return [
            CarriedObject(
                subject: "grants on \(name.sql)",
                note: rights.byOthers.isEmpty
                    ? "given on the new one" : "given on the new one, by the roles who gave them",
                restore: rights.byOthers
            )
        ]
    }

    private func prepareSequences(
        on connection: PostgresConnection
    ) async throws -> OwnedSequences {
        var sequences = try await OwnedSequences.capture(
            of: live.oids,
            for: target.tables.map(\.oid),
            in: (target.homeSchema, liveSchema),
            maxima: maxima,
            on: connection
        )
        for statement in sequences.preparation { try await connection.execute(statement) }
        for twin in sequences.twins {
            sequences.objects += try await copyRights(
                from: twin.live,
                to: twin.target,
                at: QualifiedName(schema: target.homeSchema, name: twin.name),
                thereafter: QualifiedName(schema: liveSchema, name: twin.name),
                on: connection
            )
        }
        return sequences
    }

    /// A statistics object goes to its relation's schema, or to where its live twin is.
    private func statistics(
        leaving group: [UInt32],
        arriving targets: Set<UInt32>,
        on connection: PostgresConnection
    ) async throws -> [StatisticsMove] {
        let result = try await connection.query(
            """
            SELECT s.stxrelid, c.relname, s.stxname, n.nspname,
                pg_catalog.pg_get_userbyid(s.stxowner) AS owner
            FROM pg_catalog.pg_statistic_ext AS s
            JOIN pg_catalog.pg_namespace AS n ON n.oid = s.stxnamespace
            JOIN pg_catalog.pg_class AS c ON c.oid = s.stxrelid
            WHERE s.stxrelid = ANY ($1::pg_catalog.oid[]) ORDER BY s.stxname
            """,
            [.ints((group + targets).map { Int64($0) })]
        )
        let found = try result.rows.map { row in
            (
                table: UInt32(try row.int("stxrelid")), tableName: try row.string("relname"),
                name: QualifiedName(
                    schema: try row.string("nspname"),
                    name: try row.string("stxname")
                ), owner: try row.string("owner")
            )
        }
        let leaving = found.filter { !targets.contains($0.table) }
        var moves: [StatisticsMove] = []
        for statistics in found {
            let isLeaving = !targets.contains(statistics.table)
            let twin = leaving.first {
                $0.tableName == statistics.tableName && $0.name.name == statistics.name.name
            }
            if let twin, !isLeaving, twin.owner != statistics.owner {
                try await connection.give("STATISTICS", statistics.name, to: twin.owner)
            }
            moves.append(
                StatisticsMove(
                    name: statistics.name,
                    schema: isLeaving
                        ? live.generation?.homeSchema ?? "" : twin?.name.schema ?? liveSchema,
                    isLeaving: isLeaving
                )
            )
        }
        return moves
    }
}
