import Foundation
import Ledgers
import ProjectionKit
import ReadModels
import Rebuilder
import Synchronization
import TestSupport
import Testing

/// Columns that give back another value than was written.
@Suite("What columns keep")
struct ColumnKeepingTests {
    /// A column, a value that it changes, and whether it may change any.
    private static let columns: [(any Projection.Type, type: String, note: String, isLossy: Bool)] =
        [
            (MeasuredNotes<String>.self, "varchar(4)", "ab      ", true),
            (MeasuredNotes<String>.self, "varchar(4)", "ab", true),
            (MeasuredNotes<String>.self, "public.short", "ab      ", true),
            (MeasuredNotes<String>.self, "char(9)", "ab", true),
            (MeasuredNotes<String>.self, "text", "ab      ", false),
            (MeasuredNotes<String>.self, "varchar", "ab      ", false),
            (MeasuredNotes<String>.self, "public.any_text", "ab      ", false),
            (MeasuredNotes<JSONText>.self, "jsonb", #"{\"b\": 1,   \"a\":2}"#, true),
            (MeasuredNotes<JSONText>.self, "json", #"{\"b\": 1,   \"a\":2}"#, false),
            (MeasuredNotes<Timestamp>.self, "timestamp(0)", "2026-01-02T03:04:05.678901Z", true),
            (MeasuredNotes<Timestamp>.self, "timestamptz(6)", "2026-01-02T03:04:05.678901Z", false),
            (MeasuredNotes<Decimal>.self, "numeric(6,2)", "1.23456", true),
            (MeasuredNotes<Decimal>.self, "numeric", "1.23456", false),
            (MeasuredNotes<Float>.self, "real", "0.1", false),
        ]

    private static let domains = """
        CREATE DOMAIN public.short AS varchar(4);
        CREATE DOMAIN public.any_text AS text CHECK (value <> '');
        """

    @Test(
        "O6: rebuild and follow give the same rows, whatever a column does to values",
        arguments: columns.indices
    )
    func bothWays(index: Int) async throws {
        let (projection, type, note, isLossy) = Self.columns[index]
        let schema = """
            CREATE TABLE note (id bigint PRIMARY KEY, note \(type) NOT NULL, size bigint NOT NULL)
            """
        try await GivenSQL.$schema.withValue(schema) {
            try await withRebuildScene { scene in
                try await scene.database.execute(Self.domains)
                let lines = try await scene.plan(projection).findings.filter {
                    $0.subject == "note.note"
                }
                #expect(lines.count == (isLossy ? 1 : 0), "\(type): \(lines)")
                #expect(lines.allSatisfy { $0.note.contains("from its beginning") })

                try scene.append([NoteEvent.seen(1, note), NoteEvent.seen(2, note)])
                _ = try await scene.rebuild(projection)
                try scene.append([NoteEvent.measured(1)])
                let obstacles = try await Self.follow(projection, in: scene)
                #expect(obstacles.map { $0 != nil } == [isLossy], "\(type): \(obstacles)")
                let followed = try await scene.rows(of: "public.note")
                _ = try await scene.rebuild(projection)
                #expect(try await scene.rows(of: "public.note") == followed, "\(type)")
            }
        }
    }

    @Test("O6: a trigger that changes rows on their way in is named, and ends following")
    func trigger() async throws {
        let schema = """
            CREATE TABLE note (id bigint PRIMARY KEY, note text NOT NULL, size bigint NOT NULL)
            """
        try await GivenSQL.$schema.withValue(schema) {
            try await withRebuildScene { scene in
                try scene.append([NoteEvent.seen(1, "a")])
                _ = try await scene.rebuild(MeasuredNotes<String>.self)
                try await scene.database.execute(
                    """
                    CREATE FUNCTION public.shout() RETURNS trigger LANGUAGE plpgsql AS $$
                    BEGIN
                        IF NEW.id > 2 THEN NEW.note := upper(NEW.note); END IF;
                        RETURN NEW;
                    END $$;
                    CREATE TRIGGER shout BEFORE INSERT ON public.note
                        FOR EACH ROW EXECUTE FUNCTION public.shout()
                    """
                )
                let warnings = try await scene.plan(MeasuredNotes<String>.self).warnings
                #expect(warnings.contains { $0.contains("trigger shout on public.note") })
                try scene.append([NoteEvent.seen(2, "b")])
                _ = try await Self.follow(MeasuredNotes<String>.self, in: scene)
                try scene.append([NoteEvent.seen(3, "c")])
                let error = await #expect(throws: ReadModelError.self) {
                    _ = try await Self.follow(MeasuredNotes<String>.self, in: scene)
                }
                guard case .refusedByPlan(_, let reasons) = error else {
                    Issue.record("got \(error as Any)")
                    return
                }
                #expect(
                    reasons.first?.hasPrefix("trigger shout on public.note: it changes") == true
                )
                #expect(try await scene.rows(of: "public.note") == ["(1,a,0)", "(2,b,0)"])
            }
        }
    }

    private static func follow(
        _ projection: any Projection.Type,
        in scene: RebuildScene
    ) async throws -> [String?] {
        var options = FollowOptions()
        options.endsAtEnd = true
        let obstacles = Mutex<[String?]>([])
        try await Follow(
            of: projection,
            from: try SQLiteLedger(path: scene.ledgerPath),
            into: scene.target,
            options: options
        ) { progress in
            guard case .attached(_, let obstacle) = progress else { return }
            obstacles.withLock { $0.append(obstacle) }
        }.run()
        return obstacles.withLock { $0 }
    }
}

/// A value of a column, made of a text and measured by a reducer.
private protocol MeasuredNote: ColumnValue {
    init(note: String)
    var size: Int64 { get }
}

private enum NoteEvent {
    static func seen(_ id: Int, _ note: String) -> NewEvent {
        NewEvent(stream: "notes", type: "Seen", data: #"{"id":\#(id),"note":"\#(note)"}"#)
    }

    static func measured(_ id: Int) -> NewEvent {
        NewEvent(stream: "notes", type: "Measured", data: #"{"id":\#(id)}"#)
    }
}

extension String: MeasuredNote {
    fileprivate init(note: String) { self = note }
    fileprivate var size: Int64 { Int64(utf8.count) }
}

extension JSONText: MeasuredNote {
    fileprivate init(note: String) { self.init(note) }
    fileprivate var size: Int64 { Int64(text.utf8.count) }
}

extension Timestamp: MeasuredNote {
    fileprivate init(note: String) { self = Timestamp(note) ?? Timestamp(microseconds: 0) }
    fileprivate var size: Int64 { microseconds % 1_000_000 }
}

extension Decimal: MeasuredNote {
    fileprivate init(note: String) { self = Decimal(string: note) ?? 0 }
    fileprivate var size: Int64 { Int64("\(self)".utf8.count) }
}

extension Float: MeasuredNote {
    fileprivate init(note: String) { self = Float(note) ?? 0 }
    fileprivate var size: Int64 { Int64(bitPattern) }
}

/// Notes, and what a reducer has found out about them.
private struct MeasuredNotes<Value: MeasuredNote>: Projection {
    struct Row: TableRow {
        var id: Int64
        var note: Value
        var size: Int64 = 0
        var key: Int64 { id }

        static var table: TableDefinition<Row> {
            TableDefinition<Row>("note", key: "id") {
                Column("id", \.id)
                Column("note", \.note)
                Column("size", \.size)
            }
        }
    }

    static var name: String { "notes" }
    static var schema: String? { GivenSQL.schema }

    var rows = Table<Row>()

    mutating func reduce(_ event: borrowing Event) throws {
        let id = try event.payload.int64("id")
        switch event.type {
        case EventType("Seen"):
            rows[id] = Row(id: id, note: Value(note: try event.payload.string("note")))
        default:
            if let note = rows[id]?.note { rows[id]?.size = note.size }
        }
    }
}
