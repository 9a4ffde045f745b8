import Postgres

/// The statements of a swap that run while readers are held up: locks, then catalogue statements
/// only, sent as one message that ends in COMMIT.
///
/// Between the first lock and the COMMIT the server waits neither for the network nor for this
/// process.
struct SwapBatch: Sendable {
    let kind: CutOverKind
    let run: RunMark
    let target: GenerationRecord
    let fence: Fence
    /// Where the live tables go; nil when there are none.
    let retiredHome: String?
    let liveSchema: String
    /// What hangs on the live tables, captured.
    let captured: SwapDraft.Captured
    let fingerprint: String
    /// What writes the projector's own position; nothing where it keeps none.
    let positionWrite: [String]

    /// SQLSTATEs that the batch raises itself.
    enum SQLState {
        /// What was captured is not what is there: the next attempt captures it again.
        static let changed = "RP001"
        /// The session with the run's lock is gone.
        static let lostLock = "RP002"
        /// What was carried over does not mean what it meant: the next attempt captures it again.
        static let otherMeaning = "RP005"
        /// The projector's own position is not in exactly one row.
        static let unwritten = "RP004"
        /// The projector's own position is not read as it was written.
        static let misread = "RP008"
        /// Event triggers changed what was moved or made again.
        static let changedByTrigger = "RP007"
    }

    /// Takes the exclusive locks in the order in which readers take theirs: views from the outside
    /// in, other people's tables whose policies, rules or keys look into the live ones, then these
    /// by name.
    private var locks: [String] {
        var locks = captured.views.map(\.lock)
        var tables = Set(captured.objects.compactMap(\.locked)).sorted()
        tables += fence.live.tables.map(\.name.sql)
        if !tables.isEmpty {
            let names = tables.joined(separator: ", ")
            locks.append("LOCK TABLE \(names) IN ACCESS EXCLUSIVE MODE;")
        }
        return locks + captured.materializedViews.reversed().map(\.lock)
    }

    /// How many statements take them.
    var lockCount: Int { locks.count }

    /// OIDs of what is locked besides the live tables.
    var relations: [UInt32] {
        captured.views.map(\.oid) + captured.materializedViews.map(\.oid) + captured.outside
    }

    /// What the batch did, once it is committed.
    ///
    /// - Parameters:
    ///   - rung: The limits it had.
    ///   - began: When it was sent.
    ///   - answers: Those to its statements; one has the times that it has recorded.
    /// - Returns: What the cut-over did.
    func result(
        _ rung: Rung,
        since began: ContinuousClock.Instant,
        _ answers: [QueryResult]
    ) -> CutOverResult {
        // Of a commit whose answer was lost the record holds less.
        let recorded = answers.last { $0.columns.contains("lock_wait_ms") }
        let figure = { (column: String) in
            guard let recorded, recorded.columns.contains(column) else { return 0.0 }
            return (try? recorded.first?.optionalDouble(column)) ?? 0
        }
        var result = CutOverResult(
            generation: target.number,
            previous: fence.live.generation?.number,
            position: target.position,
            blockedMilliseconds: (ContinuousClock.now - began).milliseconds - figure("unlocked_ms"),
            longestFailedWait: rung.longestFailedWait,
            attempts: rung.attempt,
            views: captured.views.map(\.name.sql)
        )
        result.lockWaitMilliseconds = figure("lock_wait_ms")
        result.rows = target.rowCounts
        result.positionBefore = fence.checkpoint?.position
        return result
    }

    /// Everything from the locks to COMMIT.
    ///
    /// - Parameter rung: The limits.
    /// - Returns: The text of one message.
    func sql(_ rung: Rung) -> String {
        var statements = [assertion]
        if guardsState { statements.append(RelationState.note(of: stateBefore)) }
        statements += captured.objects.flatMap(\.release) + departure + arrival
        statements += CutOverStop.statements(at: .moved)
        statements += captured.objects.flatMap(\.restoration)
        if !captured.meanings.isEmpty {
            statements.append(
                StoredTree.assertion(captured.meanings, raising: SQLState.otherMeaning)
            )
        }
        if guardsState {
            statements.append(
                RelationState.assertion(stateAfter, raising: SQLState.changedByTrigger)
            )
        }
        statements += CutOverStop.statements(at: .carried)
        statements += bookkeeping(rung)
        statements += CutOverStop.statements(at: .recorded)
        let opening =
            [rung.begin, rung.locking(locks), rung.locked] + CutOverStop.statements(at: .locked)
        return (opening + rung.bounding(statements) + ["COMMIT"]).joined(separator: ";\n")
    }

    /// Whether event triggers fire that could change something in silence.
    private var guardsState: Bool {
        !captured.eventTriggers.isEmpty && !(stateBefore.isEmpty && stateAfter.isEmpty)
    }

    /// What the relations that come have to be like.
    ///
    /// They have what is carried over of those that they replace, and keep the rest of what they have.
    /// Foreign keys are made in the batch, and count as neither.
    private var stateBefore: [RelationState.Subject] {
        captured.pairs.flatMap { pair in
            [
                RelationState.Subject(
                    label: pair.liveName.description,
                    oid: pair.live,
                    twin: pair.target,
                    hasFeatures: false
                ),
                RelationState.Subject(
                    label: pair.liveName.description,
                    oid: pair.target,
                    hasAttachments: false
                ),
            ]
        } + kept
    }

    private var stateAfter: [RelationState.Subject] {
        captured.pairs.map {
            RelationState.Subject(label: $0.liveName.description, oid: $0.target)
        } + kept
    }

    /// Views and functions, which are made again under their OIDs.
    private var kept: [RelationState.Subject] {
        captured.views.map {
            RelationState.Subject(label: $0.name.description, oid: $0.oid)
        }
            + captured.objects.flatMap { object in
                object.trees.filter { $0.kind == .function }.map {
                    RelationState.Subject(label: object.subject, oid: $0.host, isRoutine: true)
                }
            }
    }

    /// The old relations go to their home.
    private var departure: [String] {
        guard let retiredHome else { return [] }
        let home = SQLText.identifier(retiredHome)
        let statistics = captured.statistics.filter(\.isLeaving)
        return statistics.map { "ALTER STATISTICS \($0.name.sql) SET SCHEMA \(home)" }
            + captured.materializedViews.map {
                "ALTER MATERIALIZED VIEW \($0.name.sql) SET SCHEMA \(home)"
            }
            + fence.live.tables.map { "ALTER TABLE \($0.name.sql) SET SCHEMA \(home)" }
    }

    /// The new ones come from theirs.
    private var arrival: [String] {
        let views = captured.pairs.filter { !$0.isTable }
        return target.tables.map { table in
            let name = QualifiedName(schema: target.homeSchema, name: table.name)
            return "ALTER TABLE \(name.sql) SET SCHEMA \(SQLText.identifier(liveSchema))"
        }
            + views.map { pair in
                let name = QualifiedName(schema: target.homeSchema, name: pair.liveName.name)
                return "ALTER MATERIALIZED VIEW \(name.sql) SET SCHEMA "
                    + SQLText.identifier(pair.liveName.schema)
            }
            + captured.statistics.filter { !$0.isLeaving }.map {
                "ALTER STATISTICS \($0.name.sql) SET SCHEMA \(SQLText.identifier($0.schema))"
            }
    }

    /// Raises unless the run still has its lock, every table is the one that was looked at, and what
    /// depends on the live tables and their grants is unchanged.
    private var assertion: String {
        let expected =
            fence.live.tables.map { ($0.oid, $0.name) }
            + captured.materializedViews.map { ($0.oid, $0.name) }
            + target.tables.map {
                ($0.oid, QualifiedName(schema: target.homeSchema, name: $0.name))
            }
            + captured.pairs.filter { !$0.isTable }.map {
                ($0.target, QualifiedName(schema: target.homeSchema, name: $0.liveName.name))
            }
        let rows = expected.map { oid, name in
            "(\(oid)::pg_catalog.oid, \(SQLText.literal(name.schema)), \(SQLText.literal(name.name)))"
        }.joined(separator: ", ")
        let body = """
            BEGIN
            IF NOT EXISTS (\(run.lock.holdQuery)) THEN
                RAISE EXCEPTION 'the run lost its lock' USING ERRCODE = '\(SQLState.lostLock)';
            END IF;
            IF (SELECT pg_catalog.count(*) FROM (VALUES \(rows)) AS e (oid, schema, name)
                JOIN pg_catalog.pg_class AS c ON c.oid = e.oid AND c.relname = e.name
                JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
                    AND n.nspname = e.schema) <> \(expected.count)
                OR (\(CatalogueFingerprint.query(of: fence.live.oids))) <> \(SQLText.literal(fingerprint))
            THEN
                RAISE EXCEPTION 'the tables changed since the cut-over began'
                    USING ERRCODE = '\(SQLState.changed)';
            END IF;
            END
            """
        return "DO \(SQLText.literal(body))"
    }

    private func bookkeeping(_ rung: Rung) -> [String] {
        let name = SQLText.literal(run.projection)
        var statements: [String] = []
        let position = fence.checkpoint?.position.map(SQLText.literal) ?? "NULL"
        if let old = fence.live.generation {
            let home =
                retiredHome.map {
                    "(SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = \(SQLText.literal($0)))"
                } ?? "NULL"
            let state = retiredHome == nil ? "'dropped'" : "'retired'"
            statements.append(
                """
                UPDATE reprise.generation SET state = \(state), retired_at = pg_catalog.now(),
                    home_schema = coalesce(\(retiredHome.map(SQLText.literal) ?? "NULL"), home_schema),
                    home_schema_oid = \(home), position = coalesce(\(position), position)
                WHERE projection = \(name) AND generation = \(old.number)
                """
            )
            statements.append(
                Bookkeeping.provenanceWrite(of: run.projection, generation: old.number)
            )
            statements += foreignKeyRecords(of: old.number)
            statements += materializedViewRecords(of: old.number)
        }
        return statements + captured.objects.compactMap(\.followUp).map { $0.record(run: run) }
            + record(name: name, positionBefore: position, rung)
    }

    private func foreignKeyRecords(of generation: Int) -> [String] {
        let name = SQLText.literal(run.projection)
        return fence.live.tables.map { table in
            let keys = captured.leavingKeys[table.name.name]
            return """
                UPDATE reprise.generation_table SET foreign_keys = \(keys.map(SQLText.literal) ?? "NULL")
                WHERE projection = \(name) AND generation = \(generation)
                    AND table_name = \(SQLText.literal(table.name.name))
                """
        }
    }

    /// The materialized views that leave belong to the generation that leaves, whoever made them.
    private func materializedViewRecords(of generation: Int) -> [String] {
        let name = SQLText.literal(run.projection)
        let views = captured.materializedViews.map {
            "(\(name), \(generation), \(SQLText.literal($0.name.name)), \($0.oid), "
                + "'materialized view')"
        }
        let removal = """
            DELETE FROM reprise.generation_table WHERE projection = \(name)
                AND generation = \(generation) AND kind = 'materialized view'
            """
        guard !views.isEmpty else { return [removal] }
        return [
            removal,
            """
            INSERT INTO reprise.generation_table
                (projection, generation, table_name, table_oid, kind)
            VALUES \(views.joined(separator: ", "))
            """,
        ]
    }

    private func record(name: String, positionBefore: String, _ rung: Rung) -> [String] {
        let after = target.position.map(SQLText.literal) ?? "NULL"
        let from = fence.live.generation.map { "\($0.number)" } ?? "NULL"
        return [
            """
            UPDATE reprise.generation SET state = 'live', live_since = pg_catalog.now()
            WHERE projection = \(name) AND generation = \(target.number)
            """,
            "UPDATE reprise.run SET generation = \(target.number) WHERE run_id = \(run.id)",
            Bookkeeping.checkpointWrite(of: run.projection, generation: target.number),
        ] + positionWrite + [
            """
            INSERT INTO reprise.swap (run_id, projection, kind, from_generation, to_generation,
                position_before, position_after, \(rung.record.columns))
            VALUES (\(run.id), \(name), '\(kind.rawValue)', \(from), \(target.number),
                \(positionBefore), \(after), \(rung.record.values))
            RETURNING lock_wait_ms, (\(Rung.unlocked)) AS unlocked_ms
            """
        ]
    }
}
