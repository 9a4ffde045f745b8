import Ledgers
import Postgres
import ProjectionKit
import ReadModels
import Rebuilder
import Synchronization
import TestSupport
import Testing

/// What a follower does where rows are not those that it wrote.
@Suite("Following over rows that somebody else has changed")
struct HandChangeTests {
    private static func follow(
        _ scene: RebuildScene,
        endsAtEnd: Bool = true,
        progress: @escaping @Sendable (FollowProgress) -> Void = { _ in }
    ) async throws {
        var options = FollowOptions()
        options.endsAtEnd = endsAtEnd
        try await Follow(
            of: Visits.self,
            from: try SQLiteLedger(path: scene.ledgerPath),
            into: scene.target,
            options: options,
            progress: progress
        ).run()
    }

    /// Changes made by hand once the follower knows a row, and events that come after them.
    private static let changes: [(sql: String, events: [NewEvent], says: String)] = [
        (
            "DELETE FROM public.visit WHERE id = 1", [Visits.waved(1)],
            "of 1 rows to update there were 0 as they were written"
        ),
        (
            "UPDATE public.visit SET waves = 7 WHERE id = 1", [Visits.waved(1)],
            "of 1 rows to update there were 0 as they were written"
        ),
        (
            "UPDATE public.visit SET note = '{\"a\":2}' WHERE id = 1", [Visits.left(1)],
            "of 1 rows to delete there were 0 as they were written"
        ),
    ]

    @Test(
        "O10: a row that it knows and that is another by now ends it, and a rebuild repairs",
        arguments: changes.indices
    )
    func known(index: Int) async throws {
        let change = Self.changes[index]
        try await withRebuildScene { scene in
            try scene.append([Visits.came(1), Visits.came(2)])
            _ = try await scene.rebuild(Visits.self)
            try scene.append([Visits.waved(1)])
            let isChanged = Mutex(false)
            // A report comes once the first event is written, and the follower looks for more.
            var options = FollowOptions()
            options.pause = 0.01
            let follower = Follow(
                of: Visits.self,
                from: try SQLiteLedger(path: scene.ledgerPath),
                into: scene.target,
                options: options
            ) { progress in
                guard case .report(let report) = progress, report.events == 1 else { return }
                guard
                    !isChanged.withLock({ changed in
                        defer { changed = true }
                        return changed
                    })
                else { return }
                do {
                    try scene.psql(change.sql)
                    try scene.append(change.events)
                } catch {
                    Issue.record(error)
                }
            }
            let error = await #expect(throws: ReadModelError.self) { try await follower.run() }
            guard case .otherRows("visits", #""public"."visit""#, change.says) = error else {
                Issue.record("got \(error as Any)")
                return
            }
            #expect("\(error!)".contains("reprise rebuild visits"))
            let ended = try await scene.control(Visits.self).status().follower
            #expect(ended?.error?.contains("does not hold the rows that the events give") == true)
            _ = try await scene.rebuild(Visits.self)
            #expect(
                try await scene.rows(of: "public.visit")
                    == (index == 2
                        ? ["(2,0,\"{\"\"a\"\":1}\")"]
                        : ["(1,2,\"{\"\"a\"\":1}\")", "(2,0,\"{\"\"a\"\":1}\")"])
            )
        }
    }

    @Test("O10: rows that should not be there end it by name where it holds all rows")
    func extra() async throws {
        let schema = """
            CREATE TABLE visit (id bigint PRIMARY KEY, waves bigint NOT NULL, note jsonb NOT NULL)
            """
        try await GivenSQL.$schema.withValue(schema) { try await extraRows() }
    }

    private func extraRows() async throws {
        try await withRebuildScene { scene in
            try scene.append([Visits.came(1)])
            _ = try await scene.rebuild(Visits.self)
            try scene.psql("INSERT INTO public.visit VALUES (9, 0, '{}'), (10, 0, '{}')")
            try scene.append([Visits.stored(9), Visits.stored(10), Visits.stored(11)])
            let error = await #expect(throws: ReadModelError.self) { try await Self.follow(scene) }
            guard case .otherRows("visits", #""public"."visit""#, let reason) = error else {
                Issue.record("got \(error as Any)")
                return
            }
            #expect(reason == "of 3 rows to insert 2 were there already")
        }
    }

    @Test("O10: where only the changed rows make the reducer refuse an event, they are named")
    func refused() async throws {
        try await withRebuildScene { scene in
            try scene.append([Visits.came(1)])
            _ = try await scene.rebuild(Visits.self)
            try scene.psql("DELETE FROM public.visit")
            try scene.append([Visits.waved(1)])
            let error = await #expect(throws: ReadModelError.self) { try await Self.follow(scene) }
            guard case .otherRows("visits", _, let reason) = error else {
                Issue.record("got \(error as Any)")
                return
            }
            #expect(reason.contains("type Waved"))
            // An event that the reducer refuses by itself is not blamed on the rows.
            _ = try await scene.rebuild(Visits.self)
            try scene.append([Visits.waved(5)])
            await #expect(throws: EventRejection.self) { try await Self.follow(scene) }
        }
    }

    @Test("O12: its sessions end when they stand still in a transaction")
    func idleLimit() async throws {
        try await withRebuildScene { scene in
            try scene.append([Visits.came(1)])
            _ = try await scene.rebuild(Visits.self)
            try await scene.database.execute(
                """
                CREATE TABLE public.told (setting text);
                CREATE FUNCTION public.tell() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN
                    INSERT INTO public.told VALUES (pg_catalog.current_setting(
                        'idle_in_transaction_session_timeout'));
                    RETURN NULL;
                END $$;
                CREATE TRIGGER tell AFTER INSERT ON public.visit
                    FOR EACH STATEMENT EXECUTE FUNCTION public.tell();
                """
            )
            try scene.append([Visits.came(2)])
            try await Self.follow(scene)
            #expect(try await scene.rows(of: "public.told") == ["(5s)"])
        }
    }

    @Test(
        "O12: the lag grows while another session keeps it waiting, which is named",
        arguments: [
            "SELECT FROM reprise.checkpoint WHERE projection = 'visits' FOR UPDATE",
            "LOCK TABLE public.visit IN SHARE MODE",
            "LOCK TABLE public.visit IN SHARE MODE; PREPARE TRANSACTION 'held'",
        ]
    )
    func heldUp(lock: String) async throws {
        try await withRebuildScene { scene in
            try scene.append([Visits.came(1)])
            _ = try await scene.rebuild(Visits.self)
            let control = scene.control(Visits.self)
            let (signals, told) = AsyncStream.makeStream(of: String.self)
            let follower = Task {
                try await Self.follow(scene, endsAtEnd: false) { progress in
                    switch progress {
                    case .attached: told.yield("attached")
                    case .report(let report): told.yield("after \(report.events)")
                    case .warning(let text): told.yield(text)
                    case .ignored: break
                    }
                }
            }
            // It has reported once, and is idle.
            _ = await signals.first { $0 == "after 0" }
            try await scene.database.withConnection { other in
                try await other.execute("BEGIN; \(lock)")
                try scene.append([Visits.came(2), Visits.came(3)])
                let warning = try #require(await signals.first { $0.contains("lock") })
                let isPrepared = lock.contains("PREPARE")
                let holder = isPrepared ? "the prepared transaction 'held'" : "pid "
                #expect(warning.hasPrefix("'visits' waits for a lock of \(holder)"))
                #expect(warning.contains("idle in transaction") != isPrepared)
                let status = try #require(try await control.status().follower)
                #expect(status.lagEvents == 2)
                #expect((status.lagSeconds ?? 0) > 1)
                try await other.execute(isPrepared ? "COMMIT PREPARED 'held'" : "COMMIT")
            }
            _ = await signals.first { $0 == "after 2" }
            follower.cancel()
            try await follower.value
            #expect(try await control.status().follower?.lagEvents == 0)
            #expect(try await scene.database.count("public.visit") == 3)
        }
    }

    @Test("O12: one that begins while its position is locked names who has locked it")
    func heldUpAtFirst() async throws {
        try await withRebuildScene { scene in
            try scene.append([Visits.came(1)])
            _ = try await scene.rebuild(Visits.self)
            let (warnings, told) = AsyncStream.makeStream(of: String.self)
            try await scene.database.withConnection { other in
                try await other.execute("BEGIN; UPDATE reprise.checkpoint SET updated_at = now()")
                let follower = Task {
                    try await Self.follow(scene) { progress in
                        if case .warning(let text) = progress { told.yield(text) }
                    }
                }
                let warning = try #require(await warnings.first { _ in true })
                #expect(warning.hasPrefix("'visits' waits for a lock of pid "))
                try await other.execute("COMMIT")
                try await follower.value
            }
        }
    }

    @Test("O9: types of events that change no row are named by a rebuild and by following")
    func ignoredTypes() async throws {
        try await withRebuildScene { scene in
            try scene.append([
                Visits.came(1), Visits.came(2), Visits.event("Slept", 1), Visits.waved(1),
                Visits.left(2), Visits.event("Wavd", 1),
            ])
            let report = try await scene.rebuild(Visits.self)
            #expect(report.ignoredTypes == ["Slept", "Wavd"])
            #expect(report.warnings == [])
            try scene.append([
                Visits.event("Snored", 1), Visits.waved(1), Visits.event("Snored", 1),
            ])
            let told = Mutex<[[String]]>([])
            try await Self.follow(scene) { progress in
                if case .ignored(let types) = progress { told.withLock { $0.append(types) } }
            }
            #expect(told.withLock { $0 } == [["Snored"]])
        }
    }

    @Test("O9: a first generation without rows is warned of, and one that no event has touched")
    func nothingHandled() async throws {
        try await withRebuildScene { scene in
            try scene.append([Visits.event("Slept", 1), Visits.event("Wavd", 1)])
            let report = try await scene.rebuild(Visits.self)
            #expect(report.isLive)
            #expect(report.warnings.count == 1)
            #expect(
                report.warnings.first?.hasPrefix("No event of the ledger changed a row") == true
            )
            #expect(report.warnings.first?.hasSuffix("Slept, Wavd.") == true)
        }
        try await withRebuildScene { scene in
            try scene.append([Visits.came(1), Visits.left(1)])
            let report = try await scene.rebuild(Visits.self)
            #expect(report.warnings == ["All tables of 'visits' are empty after 2 events."])
        }
    }
}

/// Visitors who come, wave and go; only who is there waves.
private struct Visits: Projection {
    struct Row: TableRow {
        var id: Int64
        var waves: Int64 = 0
        var note = JSONText(#"{"a":1}"#)
        var key: Int64 { id }

        static let table = TableDefinition<Row>("visit", key: "id") {
            Column("id", \.id)
            Column("waves", \.waves)
            Column("note", \.note)
        }
    }

    static let name = "visits"
    static var schema: String? {
        GivenSQL.schema ?? """
            CREATE TABLE visit (id bigint PRIMARY KEY, waves bigint NOT NULL, note json NOT NULL)
            """
    }

    var rows = Table<Row>()

    mutating func reduce(_ event: borrowing Event) throws {
        let id = try event.payload.int64("id")
        switch event.type {
        case EventType("Came"): rows[id, default: Row(id: id)].waves = 0
        case EventType("Stored"):
            rows.remove(id)
            rows[id] = Row(id: id)
        case EventType("Waved"):
            guard rows.contains(id) else { throw EventError("the visitor is not here") }
            rows[id]?.waves += 1
        case EventType("Left"): rows.remove(id)
        default: break
        }
    }

    static func came(_ id: Int) -> NewEvent { event("Came", id) }
    static func stored(_ id: Int) -> NewEvent { event("Stored", id) }
    static func waved(_ id: Int) -> NewEvent { event("Waved", id) }
    static func left(_ id: Int) -> NewEvent { event("Left", id) }

    static func event(_ type: String, _ id: Int) -> NewEvent {
        NewEvent(stream: "visit-\(id)", type: type, data: #"{"id":\#(id)}"#)
    }
}
