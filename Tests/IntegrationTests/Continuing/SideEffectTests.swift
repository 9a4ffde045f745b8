import Ledgers
import Postgres
import ProjectionKit
import ReadModels
import Rebuilder
import TestSupport
import Testing

/// What the server changes along with rows, and no rebuild would.
@Suite("Side effects of written rows")
struct SideEffectTests {
    private func refusal(_ body: () async throws -> Void) async -> [String] {
        do {
            try await body()
            return ["nothing was refused"]
        } catch ReadModelError.refusedByPlan(_, let reasons) {
            return reasons
        } catch {
            return ["\(error)"]
        }
    }

    @Test(
        "O9: a foreign key that would change rows along ends follow and catch-up by name",
        arguments: ["ON DELETE CASCADE", "ON DELETE SET NULL", "ON DELETE SET DEFAULT"]
    )
    func actions(action: String) async throws {
        let schema = """
            CREATE TABLE desk (id bigint PRIMARY KEY, room bigint NOT NULL);
            CREATE TABLE guest (id bigint PRIMARY KEY, desk bigint DEFAULT 9 REFERENCES desk \(action));
            """
        let gone = [Desks.gone(1)], back = [Desks.desk(1, in: 5)]
        try await GivenSQL.$schema.withValue(schema) {
            try await withRebuildScene { scene in
                let first = [
                    Desks.desk(1, in: 1), Desks.desk(9, in: 9), Desks.guest(7, at: 1),
                    Desks.guest(8, at: 9),
                ]
                try scene.append(first)
                _ = try await scene.rebuild(Desks.self)
                try scene.append(gone)
                let reasons = await refusal { try await scene.follow(Desks.self) }
                #expect(reasons.count == 1)
                #expect(
                    reasons[0].contains("foreign key guest_desk_fkey on public.guest (\(action))")
                )
                #expect(reasons[0].contains("changed 1 rows of public.guest"))
                #expect(try await scene.rows(of: "public.guest") == ["(7,1)", "(8,9)"])
                // With the parent back before the next round nothing is in the way.
                try scene.append(back)
                try await scene.follow(Desks.self)
                #expect(try await scene.rows(of: "public.guest") == ["(7,1)", "(8,9)"])
                #expect(try await scene.rows(of: "public.desk") == ["(1,5)", "(9,9)"])
            }
            try await withRebuildScene { scene in
                try scene.append([
                    Desks.desk(1, in: 1), Desks.desk(9, in: 9), Desks.guest(7, at: 1),
                ])
                let reasons = await refusal {
                    _ = try await scene.rebuild(Desks.self) { progress in
                        guard case .stage(.checking) = progress else { return }
                        do { try scene.append(gone) } catch { Issue.record(error) }
                    }
                }
                #expect(reasons.first?.contains("(\(action)) changed 1 rows of ") == true)
            }
        }
    }

    @Test("O9: a parent may leave with its rows, whatever its foreign keys do")
    func reducerDeletes() async throws {
        let schema = """
            CREATE TABLE desk (id bigint PRIMARY KEY, room bigint NOT NULL);
            CREATE TABLE guest (id bigint PRIMARY KEY,
                desk bigint REFERENCES desk ON DELETE CASCADE ON UPDATE CASCADE);
            """
        try await GivenSQL.$schema.withValue(schema) {
            try await withRebuildScene { scene in
                try scene.append([
                    Desks.desk(1, in: 1), Desks.guest(7, at: 1), Desks.guest(8, at: 1),
                ])
                _ = try await scene.rebuild(Desks.self)
                try scene.append([
                    Desks.left(7), Desks.desk(2, in: 2), Desks.guest(8, at: 2), Desks.gone(1),
                    Desks.desk(2, in: 3),
                ])
                try await scene.follow(Desks.self)
                #expect(try await scene.rows(of: "public.guest") == ["(8,2)"])
                #expect(try await scene.rows(of: "public.desk") == ["(2,3)"])
            }
        }
    }

    @Test(
        "O9: a trigger that changes rows of the projection ends follow by name",
        arguments: ["", "DEFERRABLE INITIALLY DEFERRED"]
    )
    func triggers(deferral: String) async throws {
        try await withRebuildScene { scene in
            try scene.append([Desks.desk(1, in: 1), Desks.guest(7, at: 1)])
            _ = try await scene.rebuild(Desks.self)
            try await scene.database.execute(
                """
                CREATE TABLE public.audit (id bigint);
                CREATE FUNCTION public.along() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                    INSERT INTO public.audit VALUES (new.id);
                    IF new.room > 10 THEN DELETE FROM public.guest; END IF;
                    RETURN NULL; END $$;
                CREATE \(deferral.isEmpty ? "" : "CONSTRAINT ") TRIGGER along
                    AFTER INSERT OR UPDATE ON public.desk \(deferral)
                    FOR EACH ROW EXECUTE FUNCTION public.along();
                """
            )
            try scene.append([Desks.desk(2, in: 2)])
            try await scene.follow(Desks.self)
            #expect(try await scene.rows(of: "public.audit") == ["(2)"])
            try scene.append([Desks.desk(3, in: 30)])
            let reasons = await refusal { try await scene.follow(Desks.self) }
            #expect(reasons.count == 1)
            #expect(
                reasons[0].hasPrefix("trigger along on public.desk changed rows of public.guest")
            )
            #expect(try await scene.rows(of: "public.guest") == ["(7,1)"])
            #expect(try await scene.rows(of: "public.desk") == ["(1,1)", "(2,2)"])
        }
    }

    @Test("O9: a trigger that empties a table of the projection ends follow by name")
    func truncate() async throws {
        try await withRebuildScene { scene in
            try scene.append([Desks.desk(1, in: 1), Desks.guest(7, at: 1)])
            _ = try await scene.rebuild(Desks.self)
            try await scene.database.execute(
                """
                CREATE FUNCTION public.empty() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                    TRUNCATE public.guest; RETURN NULL; END $$;
                CREATE TRIGGER empty AFTER INSERT ON public.desk
                    FOR EACH STATEMENT EXECUTE FUNCTION public.empty();
                """
            )
            try scene.append([Desks.desk(2, in: 2)])
            let reasons = await refusal { try await scene.follow(Desks.self) }
            #expect(reasons.first?.hasPrefix("trigger empty on public.desk changed rows") == true)
            #expect(try await scene.rows(of: "public.guest") == ["(7,1)"])
        }
    }

    @Test(
        "O9: a rule that writes elsewhere instead ends follow by name",
        arguments: [
            ("INSERT TO public.desk DO INSTEAD INSERT INTO public.other VALUES (new.*)", "desk"),
            ("UPDATE TO public.desk DO INSTEAD UPDATE public.other SET room = 1", "move"),
            ("DELETE TO public.guest DO INSTEAD DELETE FROM public.other WHERE id = 7", "left"),
        ]
    )
    func rules(rule: String, event: String) async throws {
        let events = [
            "desk": Desks.desk(2, in: 2), "move": Desks.desk(1, in: 9), "left": Desks.left(7),
        ]
        try await withRebuildScene { scene in
            try scene.append([Desks.desk(1, in: 1), Desks.guest(7, at: 1)])
            _ = try await scene.rebuild(Desks.self)
            try await scene.database.execute(
                """
                CREATE TABLE public.other (id bigint, room bigint);
                INSERT INTO public.other VALUES (1, 1), (7, 1);
                CREATE RULE elsewhere AS ON \(rule)
                """
            )
            try scene.append([try #require(events[event])])
            let reasons = await refusal { try await scene.follow(Desks.self) }
            #expect(reasons.first?.hasPrefix("rule elsewhere on public.") == true, "\(reasons)")
            #expect(try await scene.rows(of: "public.desk") == ["(1,1)"])
            #expect(try await scene.rows(of: "public.guest") == ["(7,1)"])
        }
    }

    @Test("O9: a trigger that waits is seen where keys had to wait as well")
    func deferredBesideCircle() async throws {
        let schema = """
            CREATE TABLE desk (id bigint PRIMARY KEY, room bigint NOT NULL);
            CREATE TABLE guest (id bigint PRIMARY KEY, desk bigint REFERENCES desk DEFERRABLE);
            ALTER TABLE desk ADD FOREIGN KEY (room) REFERENCES guest DEFERRABLE;
            """
        try await GivenSQL.$schema.withValue(schema) {
            try await withRebuildScene { scene in
                try scene.append([
                    Desks.desk(1, in: 1), Desks.guest(1, at: 1), Desks.guest(7, at: 1),
                ])
                _ = try await scene.rebuild(Desks.self)
                try await scene.database.execute(
                    """
                    CREATE FUNCTION public.along() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                        DELETE FROM public.guest WHERE id = 7; RETURN NULL; END $$;
                    CREATE CONSTRAINT TRIGGER along AFTER INSERT ON public.desk
                        DEFERRABLE INITIALLY DEFERRED
                        FOR EACH ROW EXECUTE FUNCTION public.along();
                    """
                )
                try scene.append([Desks.desk(2, in: 2), Desks.guest(2, at: 2)])
                let reasons = await refusal { try await scene.follow(Desks.self) }
                #expect(reasons.first?.hasPrefix("trigger along on public.desk") == true)
                #expect(try await scene.rows(of: "public.guest") == ["(1,1)", "(7,1)"])
            }
        }
    }

    @Test("O9: a trigger that leaves rows out is named")
    func leavesOut() async throws {
        try await withRebuildScene { scene in
            try scene.append([Desks.desk(1, in: 1)])
            _ = try await scene.rebuild(Desks.self)
            try await scene.database.execute(
                """
                CREATE FUNCTION public.never() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                    RETURN NULL; END $$;
                CREATE TRIGGER never BEFORE INSERT ON public.desk
                    FOR EACH ROW EXECUTE FUNCTION public.never();
                """
            )
            try scene.append([Desks.desk(2, in: 2)])
            let reasons = await refusal { try await scene.follow(Desks.self) }
            #expect(reasons.first?.hasPrefix("trigger never on public.desk") == true, "\(reasons)")
        }
    }

    @Test("O11: a unique value moves beside a key that can wait; beside a rule it is named")
    func movesBesideKeysAndRules() async throws {
        let schema = """
            CREATE TABLE desk (id bigint PRIMARY KEY, room bigint NOT NULL UNIQUE);
            CREATE TABLE guest (id bigint PRIMARY KEY, desk bigint REFERENCES desk DEFERRABLE);
            """
        try await GivenSQL.$schema.withValue(schema) {
            try await withRebuildScene { scene in
                try scene.append([Desks.desk(1, in: 1), Desks.guest(7, at: 1)])
                _ = try await scene.rebuild(Desks.self)
                try scene.append([Desks.gone(1), Desks.desk(3, in: 1), Desks.guest(7, at: 3)])
                try await scene.follow(Desks.self)
                #expect(try await scene.rows(of: "public.desk") == ["(3,1)"])
                #expect(try await scene.rows(of: "public.guest") == ["(7,3)"])
                try scene.append([Desks.desk(4, in: 4)])
                try await scene.follow(Desks.self)
                try await scene.database.execute(
                    """
                    CREATE TABLE public.other (id bigint);
                    CREATE RULE too AS ON DELETE TO public.desk
                        DO ALSO INSERT INTO public.other VALUES (old.id);
                    """
                )
                try scene.append([Desks.desk(3, in: 4), Desks.desk(4, in: 1)])
                let reasons = await refusal { try await scene.follow(Desks.self) }
                #expect(reasons.count == 1)
                #expect(reasons[0].hasPrefix("rule too on public.desk: rows of its table exchange"))
            }
        }
    }

    @Test("O9: a table of another projection is not changed along")
    func otherProjection() async throws {
        try await withRebuildScene { scene in
            try scene.append([Desks.desk(1, in: 1), Desks.guest(7, at: 1)])
            _ = try await scene.rebuild(Desks.self)
            _ = try await scene.rebuild(Visits.self)
            try await scene.database.execute(
                """
                CREATE TABLE public.outside (desk bigint REFERENCES public.desk ON DELETE CASCADE);
                ALTER TABLE public.visit ADD FOREIGN KEY (id) REFERENCES public.guest ON DELETE CASCADE;
                """
            )
            try await scene.database.execute("INSERT INTO public.outside VALUES (1)")
            try scene.append([Desks.left(7)])
            let reasons = await refusal { try await scene.follow(Desks.self) }
            #expect(reasons.first?.contains("rows of public.visit") == true)
            #expect(try await scene.rows(of: "public.visit") == ["(7)"])
            #expect(try await scene.rows(of: "public.guest") == ["(7,1)"])
        }
    }

    @Test("O9: a table outside all projections goes along as its foreign key says")
    func outside() async throws {
        try await withRebuildScene { scene in
            try scene.append([Desks.desk(1, in: 1), Desks.desk(2, in: 2)])
            _ = try await scene.rebuild(Desks.self)
            try await scene.database.execute(
                "CREATE TABLE public.outside (desk bigint REFERENCES public.desk ON DELETE CASCADE)"
            )
            try await scene.database.execute("INSERT INTO public.outside VALUES (1), (2)")
            try scene.append([Desks.gone(1)])
            try await scene.follow(Desks.self)
            #expect(try await scene.rows(of: "public.outside") == ["(2)"])
        }
    }

    @Test("O9: side effects that the server does not count are refused")
    func uncounted() async throws {
        let schema = """
            CREATE TABLE desk (id bigint PRIMARY KEY, room bigint NOT NULL);
            CREATE TABLE guest (id bigint PRIMARY KEY, desk bigint REFERENCES desk ON DELETE CASCADE);
            """
        try await GivenSQL.$schema.withValue(schema) {
            try await withRebuildScene { scene in
                try scene.append([Desks.desk(1, in: 1)])
                _ = try await scene.rebuild(Desks.self)
                let name =
                    try await scene.database.query("SELECT current_database() AS name")
                    .first?.string("name") ?? ""
                try await scene.database.execute("ALTER DATABASE \(name) SET track_counts = off")
                try scene.append([Desks.desk(2, in: 2)])
                let reasons = await refusal { try await scene.follow(Desks.self) }
                #expect(reasons.first?.contains("track_counts = off") == true)
                try await scene.database.execute("ALTER DATABASE \(name) RESET track_counts")
                try await scene.follow(Desks.self)
                #expect(try await scene.rows(of: "public.desk") == ["(1,1)", "(2,2)"])
            }
        }
    }

    @Test("O9: follow refuses an unlogged table, which a crash would empty")
    func unlogged() async throws {
        try await withRebuildScene { scene in
            try scene.append([Desks.desk(1, in: 1)])
            _ = try await scene.rebuild(Desks.self)
            try await scene.database.execute("ALTER TABLE public.guest SET UNLOGGED")
            try scene.append([Desks.desk(2, in: 2)])
            let reasons = await refusal { try await scene.follow(Desks.self) }
            #expect(reasons.first?.hasPrefix("public.guest: it is unlogged") == true)
            #expect(try await scene.rows(of: "public.desk") == ["(1,1)"])
            try await scene.database.execute("ALTER TABLE public.guest SET LOGGED")
            try await scene.follow(Desks.self)
            #expect(try await scene.rows(of: "public.desk") == ["(1,1)", "(2,2)"])
        }
    }

    @Test(
        "O11: tables that refer to each other are written where one of the keys can wait",
        arguments: [
            ("", " DEFERRABLE"), (" DEFERRABLE", ""), (" DEFERRABLE INITIALLY DEFERRED", ""),
        ]
    )
    func circle(deferral: (String, String)) async throws {
        let schema = """
            CREATE TABLE desk (id bigint PRIMARY KEY, room bigint NOT NULL);
            CREATE TABLE guest (id bigint PRIMARY KEY, desk bigint REFERENCES desk\(deferral.0));
            ALTER TABLE desk ADD FOREIGN KEY (room) REFERENCES guest\(deferral.1);
            """
        try await GivenSQL.$schema.withValue(schema) {
            for way in ["follow", "catch-up", "truncate"] {
                try await withRebuildScene { scene in
                    try scene.append([Desks.desk(1, in: 1), Desks.guest(1, at: 1)])
                    let next = [
                        Desks.desk(2, in: 2), Desks.guest(2, at: 2), Desks.left(1), Desks.gone(1),
                    ]
                    if way == "catch-up" {
                        _ = try await scene.rebuild(Desks.self) { progress in
                            guard case .stage(.checking) = progress else { return }
                            do { try scene.append(next) } catch { Issue.record(error) }
                        }
                    } else {
                        _ = try await scene.rebuild(Desks.self)
                        try scene.append(next)
                        if way == "follow" {
                            try await scene.follow(Desks.self)
                        } else {
                            var options = RebuildOptions()
                            options.strategy = .truncate
                            _ = try await scene.rebuild(Desks.self, options: options)
                        }
                    }
                    #expect(try await scene.rows(of: "public.desk") == ["(2,2)"], "\(way)")
                    #expect(try await scene.rows(of: "public.guest") == ["(2,2)"], "\(way)")
                }
            }
        }
    }

    @Test(
        "O11: a value that others refer to moves with them where the key can wait; else it is named"
    )
    func movingTarget() async throws {
        for deferral in [" DEFERRABLE", ""] {
            let schema = """
                CREATE TABLE desk (id bigint PRIMARY KEY, room bigint NOT NULL UNIQUE);
                CREATE TABLE guest (id bigint PRIMARY KEY, desk bigint REFERENCES desk (room)\(deferral));
                """
            try await GivenSQL.$schema.withValue(schema) {
                try await withRebuildScene { scene in
                    try scene.append([Desks.desk(1, in: 1), Desks.guest(7, at: 1)])
                    _ = try await scene.rebuild(Desks.self)
                    try scene.append([Desks.desk(1, in: 2), Desks.guest(7, at: 2)])
                    if deferral.isEmpty {
                        let error = await #expect(throws: ReadModelError.self) {
                            try await scene.follow(Desks.self)
                        }
                        guard case .rowRejected(let row) = error else {
                            Issue.record("got \(error as Any)")
                            return
                        }
                        #expect(row.reason.contains("make the key DEFERRABLE"))
                        #expect(try await scene.rows(of: "public.guest") == ["(7,1)"])
                    } else {
                        try await scene.follow(Desks.self)
                        #expect(try await scene.rows(of: "public.guest") == ["(7,2)"])
                        #expect(try await scene.rows(of: "public.desk") == ["(1,2)"])
                    }
                }
            }
        }
    }
}

/// Desks and the guests at them.
private struct Desks: Projection {
    struct Desk: TableRow {
        var id: Int64
        var room: Int64
        var key: Int64 { id }

        static let table = TableDefinition<Desk>("desk", key: "id") {
            Column("id", \.id)
            Column("room", \.room)
        }
    }

    struct Guest: TableRow {
        var id: Int64
        var desk: Int64
        var key: Int64 { id }

        static let table = TableDefinition<Guest>("guest", key: "id") {
            Column("id", \.id)
            Column("desk", \.desk)
        }
    }

    static let name = "desks"
    static var schema: String? {
        GivenSQL.schema
            ?? """
            CREATE TABLE desk (id bigint PRIMARY KEY, room bigint NOT NULL);
            CREATE TABLE guest (id bigint PRIMARY KEY, desk bigint NOT NULL);
            """
    }

    var desks = Table<Desk>()
    var guests = Table<Guest>()

    mutating func reduce(_ event: borrowing Event) throws {
        let id = try event.payload.int64("id")
        switch event.type {
        case EventType("Desk"): desks[id] = Desk(id: id, room: try event.payload.int64("room"))
        case EventType("Guest"):
            guests[id] = Guest(id: id, desk: try event.payload.int64("desk"))
        case EventType("Gone"): desks.remove(id)
        case EventType("Left"): guests.remove(id)
        default: break
        }
    }

    static func desk(_ id: Int, in room: Int) -> NewEvent {
        NewEvent(stream: "desks", type: "Desk", data: #"{"id":\#(id),"room":\#(room)}"#)
    }

    static func guest(_ id: Int, at desk: Int) -> NewEvent {
        NewEvent(stream: "desks", type: "Guest", data: #"{"id":\#(id),"desk":\#(desk)}"#)
    }

    static func gone(_ id: Int) -> NewEvent {
        NewEvent(stream: "desks", type: "Gone", data: #"{"id":\#(id)}"#)
    }

    static func left(_ id: Int) -> NewEvent {
        NewEvent(stream: "desks", type: "Left", data: #"{"id":\#(id)}"#)
    }
}

/// The guests that there ever were.
private struct Visits: Projection {
    struct Visit: TableRow {
        var id: Int64
        var key: Int64 { id }

        static let table = TableDefinition<Visit>("visit", key: "id") { Column("id", \.id) }
    }

    static let name = "visits"
    static let schema: String? = "CREATE TABLE visit (id bigint PRIMARY KEY)"

    var visits = Table<Visit>()

    mutating func reduce(_ event: borrowing Event) throws {
        guard event.type == EventType("Guest") else { return }
        let id = try event.payload.int64("id")
        visits[id] = Visit(id: id)
    }
}
