import Ledgers
import ProjectionKit
import ReadModels
import Rebuilder
import TestSupport
import Testing

/// Changed rows on their way into tables of unusual shapes.
@Suite("Row exchange")
struct RowExchangeTests {
    /// Rebuilds, and appends once the generation is loaded.
    private func rebuild(
        _ projection: any Projection.Type,
        in scene: RebuildScene,
        appending events: [NewEvent]
    ) async throws {
        _ = try await scene.rebuild(projection) { progress in
            guard case .stage(.checking) = progress else { return }
            do { try scene.append(events) } catch { Issue.record(error) }
        }
    }

    @Test(
        "A row may leave its parent for another in the events in which the parent goes",
        arguments: ["", " ON DELETE CASCADE"]
    )
    func parentGoes(action: String) async throws {
        let schema = """
            CREATE TABLE team (id bigint PRIMARY KEY, place bigint NOT NULL UNIQUE);
            CREATE TABLE member (
                id bigint PRIMARY KEY, team bigint NOT NULL REFERENCES team\(action)
            );
            """
        try await GivenSQL.$schema.withValue(schema) {
            for isFollowed in [false, true] {
                try await withRebuildScene { scene in
                    try scene.append([Teams.team(1, at: 1), Teams.member(7, of: 1)])
                    let moves = [
                        Teams.team(2, at: 2), Teams.member(7, of: 2), Teams.gone(1),
                    ]
                    if isFollowed {
                        _ = try await scene.rebuild(Teams.self)
                        try scene.append(moves)
                        try await scene.follow(Teams.self)
                    } else {
                        try await rebuild(Teams.self, in: scene, appending: moves)
                    }
                    #expect(try await scene.rows(of: "public.team") == ["(2,2)"])
                    #expect(try await scene.rows(of: "public.member") == ["(7,2)"])
                }
            }
        }
    }

    @Test("A unique value may go from a parent that leaves to one that comes")
    func uniqueValueOfParent() async throws {
        let schema = """
            CREATE TABLE team (id bigint PRIMARY KEY, place bigint NOT NULL UNIQUE);
            CREATE TABLE member (id bigint PRIMARY KEY, team bigint NOT NULL REFERENCES team);
            """
        try await GivenSQL.$schema.withValue(schema) {
            try await withRebuildScene { scene in
                try scene.append([Teams.team(1, at: 1), Teams.team(2, at: 2)])
                try await rebuild(
                    Teams.self,
                    in: scene,
                    appending: [Teams.gone(1), Teams.team(3, at: 1), Teams.member(7, of: 3)]
                )
                #expect(try await scene.rows(of: "public.team") == ["(2,2)", "(3,1)"])
            }
        }
    }

    @Test("O11: rows that others refer to exchange values of UNIQUE and EXCLUDE, and keep the rest")
    func exchangedValues() async throws {
        let schemas = [
            "place bigint NOT NULL UNIQUE",
            "place bigint NOT NULL, EXCLUDE USING gist (pg_catalog.int8range(place, place, '[]') WITH &&)",
        ].map { place in
            """
            CREATE TABLE team (id bigint PRIMARY KEY, \(place), made timestamptz DEFAULT now(),
                twice bigint GENERATED ALWAYS AS (place * 2) STORED);
            CREATE TABLE member (id bigint PRIMARY KEY, team bigint NOT NULL REFERENCES team);
            """
        }
        for (schema, isFollowed) in schemas.flatMap({ [($0, false), ($0, true)] }) {
            try await GivenSQL.$schema.withValue(schema) {
                try await withRebuildScene { scene in
                    try scene.append(
                        (1...3).map { Teams.team($0, at: $0) } + [Teams.member(7, of: 1)]
                    )
                    let moves = [
                        Teams.team(1, at: 2), Teams.team(2, at: 3), Teams.team(3, at: 1),
                        Teams.member(8, of: 2),
                    ]
                    if isFollowed {
                        _ = try await scene.rebuild(Teams.self)
                        try await scene.database.execute(
                            "UPDATE public.team SET made = '2001-02-03Z'"
                        )
                        try scene.append(moves)
                        try await scene.follow(Teams.self)
                        let kept = try await scene.database.count(
                            "public.team WHERE made < '2002-01-01'"
                        )
                        #expect(kept == 3)
                    } else {
                        try await rebuild(Teams.self, in: scene, appending: moves)
                    }
                    let places = "(SELECT id, place, twice FROM public.team)"
                    #expect(try await scene.rows(of: places) == ["(1,2,4)", "(2,3,6)", "(3,1,2)"])
                    #expect(try await scene.rows(of: "public.member") == ["(7,1)", "(8,2)"])
                }
            }
        }
    }

    @Test("Rows that refer to others of their table are not taken along by an exchange of theirs")
    func selfReference() async throws {
        let schema = """
            CREATE TABLE member (
                id bigint PRIMARY KEY,
                team bigint NOT NULL UNIQUE,
                boss bigint REFERENCES member ON DELETE CASCADE
            );
            """
        try await GivenSQL.$schema.withValue(schema) {
            try await withRebuildScene { scene in
                try scene.append((1...3).map { Staff.member($0, of: $0, under: 1) })
                let error = await #expect(throws: ReadModelError.self) {
                    try await rebuild(
                        Staff.self,
                        in: scene,
                        appending: [
                            Staff.member(1, of: 2, under: 1), Staff.member(2, of: 1, under: 1),
                        ]
                    )
                }
                guard case .rowRejected(let row) = error, row.table == "member" else {
                    Issue.record("got \(error as Any)")
                    return
                }
            }
        }
    }

    @Test("A key may be NULL where the table says that it is a value")
    func nullKey() async throws {
        try await withRebuildScene { scene in
            try scene.append([Optionals.event(nil), Optionals.event(1)])
            try await rebuild(
                Optionals.self,
                in: scene,
                appending: [Optionals.event(nil), Optionals.event(2)]
            )
            #expect(try await scene.rows(of: "public.optional") == ["(,2)", "(1,1)", "(2,1)"])
            try scene.append([Optionals.event(nil), Optionals.event(1)])
            try await scene.follow(Optionals.self)
            #expect(try await scene.rows(of: "public.optional") == ["(,3)", "(1,2)", "(2,1)"])
        }
    }

    @Test("What the planner is told of one table's changes is not told of another's")
    func plannerSettings() async throws {
        try await withRebuildScene { scene in
            try scene.append(Pairs.events)
            _ = try await scene.rebuild(Pairs.self)
            try await scene.database.execute(
                """
                CREATE TABLE public.told (relation text, joins text);
                CREATE FUNCTION public.tell() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN
                    INSERT INTO public.told
                    VALUES (TG_TABLE_NAME, pg_catalog.current_setting('enable_hashjoin'));
                    RETURN NULL;
                END $$;
                CREATE TRIGGER tell AFTER UPDATE ON public.plain
                    FOR EACH STATEMENT EXECUTE FUNCTION public.tell();
                CREATE TRIGGER tell AFTER UPDATE ON public.keyed
                    FOR EACH STATEMENT EXECUTE FUNCTION public.tell();
                """
            )
            try scene.append(Pairs.events)
            try await scene.follow(Pairs.self)
            #expect(try await scene.rows(of: "public.told") == ["(keyed,off)", "(plain,on)"])
        }
    }
}

/// Teams and their members, who may go from one to another.
private struct Teams: Projection {
    struct Team: TableRow {
        var id: Int64
        var place: Int64
        var key: Int64 { id }

        static let table = TableDefinition<Team>("team", key: "id") {
            Column("id", \.id)
            Column("place", \.place)
        }
    }

    struct Member: TableRow {
        var id: Int64
        var team: Int64
        var key: Int64 { id }

        static let table = TableDefinition<Member>("member", key: "id") {
            Column("id", \.id)
            Column("team", \.team)
        }
    }

    static let name = "teams"
    static var schema: String? { GivenSQL.schema }

    var teams = Table<Team>()
    var members = Table<Member>()

    mutating func reduce(_ event: borrowing Event) throws {
        let id = try event.payload.int64("id")
        switch event.type {
        case EventType("Team"): teams[id] = Team(id: id, place: try event.payload.int64("place"))
        case EventType("Member"):
            members[id] = Member(id: id, team: try event.payload.int64("team"))
        case EventType("Gone"): teams.remove(id)
        default: break
        }
    }

    static func team(_ id: Int, at place: Int) -> NewEvent {
        NewEvent(stream: "teams", type: "Team", data: #"{"id":\#(id),"place":\#(place)}"#)
    }

    static func member(_ id: Int, of team: Int) -> NewEvent {
        NewEvent(stream: "teams", type: "Member", data: #"{"id":\#(id),"team":\#(team)}"#)
    }

    static func gone(_ id: Int) -> NewEvent {
        NewEvent(stream: "teams", type: "Gone", data: #"{"id":\#(id)}"#)
    }
}

/// Members whose boss is a member.
private struct Staff: Projection {
    struct Row: TableRow {
        var id: Int64
        var team: Int64
        var boss: Int64?
        var key: Int64 { id }

        static let table = TableDefinition<Row>("member", key: "id") {
            Column("id", \.id)
            Column("team", \.team)
            Column("boss", \.boss)
        }
    }

    static let name = "staff"
    static var schema: String? { GivenSQL.schema }

    var rows = Table<Row>()

    mutating func reduce(_ event: borrowing Event) throws {
        let id = try event.payload.int64("id")
        rows[id] = Row(
            id: id,
            team: try event.payload.int64("team"),
            boss: try event.payload.int64("boss")
        )
    }

    static func member(_ id: Int, of team: Int, under boss: Int) -> NewEvent {
        NewEvent(
            stream: "staff",
            type: "Member",
            data: #"{"id":\#(id),"team":\#(team),"boss":\#(boss)}"#
        )
    }
}

/// Counts by an id that may be missing.
private struct Optionals: Projection {
    struct Row: TableRow {
        var id: Int64?
        var events: Int64 = 0
        var key: Int64? { id }

        static let table = TableDefinition<Row>("optional", key: "id") {
            Column("id", \.id)
            Column("events", \.events)
        }
    }

    static let name = "optionals"
    static let schema: String? = """
        CREATE TABLE optional (id bigint UNIQUE NULLS NOT DISTINCT, events bigint NOT NULL)
        """

    var rows = Table<Row>()

    mutating func reduce(_ event: borrowing Event) throws {
        let id = try? event.payload.int64("id")
        rows[id, default: Row(id: id)].events += 1
    }

    static func event(_ id: Int?) -> NewEvent {
        NewEvent(stream: "optionals", type: "Seen", data: id.map { #"{"id":\#($0)}"# } ?? "{}")
    }
}

/// A table without a unique key, and one with.
private struct Pairs: Projection {
    struct Plain: TableRow {
        var id: Int64
        var events: Int64 = 0
        var key: Int64 { id }

        static let table = TableDefinition<Plain>("plain", key: "id") {
            Column("id", \.id)
            Column("events", \.events)
        }
    }

    struct Keyed: TableRow {
        var id: Int64
        var events: Int64 = 0
        var key: Int64 { id }

        static let table = TableDefinition<Keyed>("keyed", key: "id") {
            Column("id", \.id)
            Column("events", \.events)
        }
    }

    static let name = "pairs"
    static let schema: String? = """
        CREATE TABLE plain (id bigint NOT NULL, events bigint NOT NULL);
        CREATE TABLE keyed (id bigint PRIMARY KEY, events bigint NOT NULL);
        """
    static let events = (1...3).map {
        NewEvent(stream: "pairs", type: "Seen", data: #"{"id":\#($0)}"#)
    }

    var plain = Table<Plain>()
    var keyed = Table<Keyed>()

    mutating func reduce(_ event: borrowing Event) throws {
        let id = try event.payload.int64("id")
        plain[id, default: Plain(id: id)].events += 1
        keyed[id, default: Keyed(id: id)].events += 1
    }
}
