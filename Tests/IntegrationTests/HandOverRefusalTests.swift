import Foundation
import Ledgers
import Postgres
import ProjectionKit
import ReadModels
import Rebuilder
import TestSupport
import Testing

@Suite("A position template that does not work")
struct HandOverRefusalTests {
    /// A template, and what the plan says of it.
    private static let unsound: [(PositionTemplate, String)] = templates([
        (
            "SELECT position FROM public.my_positions WHERE name = 'tally'", nil,
            "'read' locks nothing"
        ),
        (
            "SELECT position, name FROM public.my_positions WHERE name = 'tally' FOR UPDATE", nil,
            "'read' gives 2 columns instead of one"
        ),
        ("SELECT position FROM public.my_positions FOR UPDATE", nil, "'read' gives 2 rows"),
        (
            "SELECT position FROM public.my_positions WHERE name = 'other' FOR UPDATE", nil,
            "a text that is no position in the format 'text'"
        ),
        ("SELECT position FROM my_positions FOR UPDATE", nil, "'read' fails: "),
        (
            nil, "UPDATE public.my_positions SET position = {position}",
            "'write' changes 2 rows; it must be one"
        ),
        (
            nil, "UPDATE public.my_positions SET position = {position} WHERE name = 'nobody'",
            "'write' changes 0 rows; it must be one"
        ),
        (nil, "UPDATE public.my_positions SET place = {position}", "'write' fails: "),
    ])

    /// Templates of which each statement works by itself.
    private static let unread: [(PositionTemplate, String)] = templates([
        (
            nil, "UPDATE public.my_positions SET note = {position} WHERE name = 'tally'",
            "'read' gives another position than 'write' has written"
        ),
        (
            "SELECT short FROM public.my_positions WHERE name = 'tally' FOR UPDATE",
            """
            UPDATE public.my_positions SET short = {position}::pg_catalog.varchar(20)
            WHERE name = 'tally'
            """, "'read' gives another position"
        ),
        (
            "SELECT wide FROM public.my_positions WHERE name = 'tally' FOR UPDATE",
            "UPDATE public.my_positions SET wide = {position} WHERE name = 'tally'",
            "'read' gives another position"
        ),
        (
            nil,
            "UPDATE public.my_positions SET position = NULL WHERE name = 'tally' -- {position}",
            "'read' gives another position"
        ),
        (
            nil,
            """
            UPDATE public.my_positions SET note = 'moved';
            UPDATE public.my_positions SET position = {position} WHERE name = 'tally'
            """, "'write' is more than one statement"
        ),
        (
            "SELECT position FROM public.my_positions WHERE name = 'nobody' FOR UPDATE", nil,
            "'read' gives another position"
        ),
        (
            "SELECT note FROM public.my_positions WHERE name = 'tally' FOR UPDATE",
            """
            UPDATE public.my_positions SET note = greatest(note, {position}) WHERE name = 'tally'
            """, "'read' gives another position"
        ),
    ])

    private static func templates(
        _ cases: [(read: String?, write: String?, says: String)]
    ) -> [(PositionTemplate, String)] {
        cases.compactMap { item in
            let usual = try? PositionTemplate.mine()
            guard let usual else { return nil }
            let template = try? PositionTemplate.mine(
                read: item.read ?? usual.read,
                write: item.write ?? usual.write
            )
            return template.map { ($0, item.says) }
        }
    }

    @Test("is refused by the plan before anything is folded", arguments: unsound)
    func planned(template: PositionTemplate, says: String) async throws {
        #expect(Self.unsound.count == 8)
        try await withHandOver(template: template) { shop in
            let plan = try await shop.plan()
            #expect(plan.refusals.count == 1)
            #expect(plan.refusals.first?.contains(says) == true, "\(plan.refusals)")
            let error = await #expect(throws: ReadModelError.self) { _ = try await shop.rebuild() }
            guard case .refusedByPlan = error else {
                Issue.record("\(String(describing: error))")
                return
            }
        }
    }

    @Test(
        "is refused by the plan where reading does not give what was written (O7)",
        arguments: unread
    )
    func readsAnother(template: PositionTemplate, says: String) async throws {
        #expect(Self.unread.count == 7)
        try await withHandOver(template: template) { shop in
            // A position of ten events, of which the last is one that this ledger does not have.
            let late = "00000000000000ff-0000000000000000-0000000000000000"
            try await shop.database.execute(
                """
                ALTER TABLE public.my_positions ADD note text DEFAULT '\(late)',
                    ADD short varchar(20), ADD wide char(60)
                """
            )
            let refusals = try await shop.plan().refusals
            #expect(refusals.count == 1)
            #expect(refusals.first?.contains(says) == true, "\(refusals)")
        }
    }

    @Test(
        "is refused by the plan where reading does not keep the projector waiting (O7)",
        arguments: [
            "SELECT position FROM public.my_positions WHERE name = 'tally' FOR KEY SHARE",
            """
            SELECT p.position FROM public.my_positions AS p, public.other AS o
            WHERE p.name = 'tally' FOR UPDATE OF o
            """,
        ]
    )
    func readsWithoutLock(read: String) async throws {
        try await withHandOver(template: try .mine(read: read)) { shop in
            try await shop.database.execute("CREATE TABLE public.other AS SELECT 1 AS id")
            let refusals = try await shop.plan().refusals
            #expect(refusals.count == 1)
            #expect(refusals.first?.contains("'read' does not keep others from writing") == true)
        }
    }

    @Test("is refused by the plan where its statement that reads ends the transaction (O7)")
    func readsAndCommits() async throws {
        for read in ["COMMIT; SELECT position FROM public.my_positions FOR UPDATE", "COMMIT"] {
            try await withHandOver(template: try .mine(read: read)) { shop in
                let planned = await #expect(throws: ReadModelError.self) { try await shop.plan() }
                #expect("\(planned!)".contains("'read' ends the transaction"))
                let error = await #expect(throws: ReadModelError.self) { try await shop.rebuild() }
                #expect("\(error!)".contains("'read' ends the transaction"))
            }
        }
    }

    @Test("is named where another projection's ends the transaction, and nothing is written (O7)")
    func otherReadCommits() async throws {
        try await withHandOver { shop in
            try await shop.rebuild()
            let before = try await shop.position()
            for read in [
                "COMMIT; SELECT 1", "COMMIT; BEGIN; SELECT 1", "COMMIT AND CHAIN; SELECT 1",
            ] {
                var target = shop.target
                target.positionTemplates["visits"] = try .mine(read: read)
                let error = await #expect(throws: ReadModelError.self) {
                    _ = try await Rebuild(
                        of: Tally.self,
                        from: try shop.scene.ledger(),
                        into: target
                    ).plan()
                }
                guard case .positionUnreadable("visits", "'read' ends the transaction") = error
                else {
                    Issue.record("got \(error as Any)")
                    return
                }
                #expect(try await shop.position() == before)
            }
        }
    }

    @Test("is refused by the plan where another projection keeps its position in the same row (O7)")
    func sharedRow() async throws {
        try await withHandOver { shop in
            for (row, isShared) in [("'tally'", true), ("{projection}", false)] {
                var target = shop.target
                target.positionTemplates["visits"] = try .mine(
                    read: """
                        SELECT position FROM public.my_positions WHERE name = \(row) FOR UPDATE
                        """,
                    write: """
                        UPDATE public.my_positions SET position = {position} WHERE name = \(row)
                        """
                )
                target.positionTemplates["broken"] = try .mine(read: "SELECT FROM public.nowhere")
                let refusals = try await Rebuild(
                    of: Tally.self,
                    from: try shop.scene.ledger(),
                    into: target
                ).plan().readModel.refusals
                #expect(refusals.count == (isShared ? 1 : 0), "\(refusals)")
                let says = "'write' writes the position of 'visits' as well"
                #expect(refusals.allSatisfy { $0.contains(says) })
            }
        }
    }

    @Test("is refused by the plan where the ledger is empty, too (O7)")
    func unreadInEmptyLedger() async throws {
        let template = try PositionTemplate.mine(
            write: "UPDATE public.my_positions SET note = {position} WHERE name = 'tally'"
        )
        try await withRebuildScene { scene in
            try await scene.database.execute(
                """
                CREATE TABLE public.my_positions (name text PRIMARY KEY, position text, note text);
                INSERT INTO public.my_positions VALUES ('tally')
                """
            )
            let refusals = try await HandOverScene(scene: scene, template: template).plan().refusals
            #expect(refusals.count == 1)
            #expect(refusals.first?.contains("'read' gives another position") == true)
        }
    }

    @Test("because its column does not keep a position by now undoes swap and truncate (O7)")
    func keepsNoLonger() async throws {
        try await withHandOver { shop in
            try await shop.rebuild()
            try shop.scene.append(counted([4]))
            try await shop.rebuild { $0.swaps = false }
            let trigger = """
                CREATE FUNCTION public.hold() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN NEW.position := OLD.position; RETURN NEW; END $$;
                CREATE TRIGGER hold BEFORE UPDATE ON public.my_positions
                    FOR EACH ROW EXECUTE FUNCTION public.hold()
                """
            try await shop.database.execute(trigger)
            let error = await #expect(throws: ReadModelError.self) {
                _ = try await shop.control.swap(patience: CutOverPatience())
            }
            #expect(Self.isMisread(error), "\(String(describing: error))")
            #expect(try await shop.live() == ["1", "3"])
            _ = try await shop.control.prune(keep: 1)

            // A plan would see it; what comes while the rebuild folds is seen by the cut-over.
            try await shop.database.execute("DROP FUNCTION public.hold() CASCADE")
            let path = "\(shop.scene.ledgerPath).sql"
            try trigger.write(toFile: path, atomically: true, encoding: .utf8)
            let database = shop.database
            let late = await #expect(throws: ReadModelError.self) {
                _ = try await shop.rebuild {
                    $0.strategy = .truncate
                    $0.hooks = Hooks(beforeSwap: ["psql '\(database.url)' -q -f '\(path)'"])
                }
            }
            #expect(Self.isMisread(late), "\(String(describing: late))")
            #expect(try await shop.live() == ["1", "3"])
        }
    }

    private static func isMisread(_ error: ReadModelError?) -> Bool {
        guard case .positionUnreadable(_, let reason) = error else { return false }
        return reason.hasPrefix("'read' gives another position")
    }

    @Test("because its row went away undoes the swap and the truncate")
    func rowGone() async throws {
        try await withHandOver { shop in
            try await shop.rebuild()
            try shop.scene.append(counted([4]))
            try await shop.rebuild { $0.swaps = false }
            try await shop.database.execute("DELETE FROM public.my_positions WHERE name = 'tally'")
            await #expect(
                throws: ReadModelError.positionUnwritten(projection: "tally", rows: "0")
            ) {
                _ = try await shop.control.swap(patience: CutOverPatience())
            }
            #expect(try await shop.live() == ["1", "3"])
            #expect(try await shop.value("SELECT count(*) FROM reprise.swap") == "1")
            _ = try await shop.control.prune(keep: 1)

            // A rebuild would not come so far; a row that goes while it folds would.
            try await shop.database.execute("INSERT INTO public.my_positions VALUES ('tally')")
            let database = shop.database
            await #expect(
                throws: ReadModelError.positionUnwritten(projection: "tally", rows: "0")
            ) {
                _ = try await shop.rebuild {
                    $0.strategy = .truncate
                    $0.hooks = Hooks(
                        beforeSwap: [
                            "psql '\(database.url)' -qc \"DELETE FROM public.my_positions\""
                        ]
                    )
                }
            }
            #expect(try await shop.live() == ["1", "3"])
        }
    }

    @Test("because its format cannot hold the ledger's positions is refused, planned or not")
    func misfit() async throws {
        try await withHandOver { usual in
            let shop = HandOverScene(scene: usual.scene, template: try .mine(format: .number))
            try await usual.database.execute(
                "UPDATE public.my_positions SET position = '0' WHERE name = 'tally'"
            )
            let refusals = try await shop.plan().refusals
            #expect(refusals.count == 1)
            #expect(refusals.first?.contains("the format 'number' cannot hold") == true)

            _ = try await usual.scene.rebuild(Tally.self)
            try usual.scene.append(counted([4]))
            var options = RebuildOptions()
            options.swaps = false
            let built = try await usual.scene.rebuild(Tally.self, options: options)
            await #expect(
                throws: ReadModelError.positionMisfit(
                    projection: "tally",
                    generation: 2,
                    position: try #require(built.position),
                    format: .number
                )
            ) {
                _ = try await shop.control.swap(patience: CutOverPatience())
            }
            #expect(try await shop.live() == ["1", "3"])
        }
    }

    @Test("because it reads something else by now stops the swap")
    func unreadable() async throws {
        try await withHandOver { shop in
            try await shop.rebuild()
            try shop.scene.append(counted([4]))
            try await shop.rebuild { $0.swaps = false }
            try await shop.database.execute(
                "UPDATE public.my_positions SET position = 'secret' WHERE name = 'tally'"
            )
            let error = await #expect(throws: ReadModelError.self) {
                _ = try await shop.control.swap(patience: CutOverPatience())
            }
            guard case .positionUnreadable(_, let reason) = error else {
                Issue.record("\(String(describing: error))")
                return
            }
            #expect(!reason.contains("secret"))
            #expect(try await shop.live() == ["1", "3"])
        }
    }

    @Test("has nothing to say of tables that were adopted, so a rollback to them is refused")
    func adopted() async throws {
        try await withHandOver { shop in
            try await shop.database.execute(
                """
                CREATE TABLE public.tally (id bigint PRIMARY KEY, events bigint NOT NULL,
                    label text NOT NULL);
                CREATE TABLE public.tally_day (day date PRIMARY KEY, events bigint NOT NULL);
                INSERT INTO public.tally VALUES (1, 1, 'old')
                """
            )
            _ = try await shop.scene.rebuild(Tally.self)
            await #expect(
                throws: ReadModelError.positionUnknown(projection: "tally", generation: 0)
            ) {
                _ = try await shop.control.rollback(patience: CutOverPatience())
            }
            #expect(try await shop.live() == ["1", "3"])
        }
    }

    @Test("for want of a right is refused by the plan, and the rights in the documents are enough")
    func rights() async throws {
        try await withHandOver { shop in
            let role = "\(shop.database.name)_job"
            try await shop.database.execute(
                """
                CREATE ROLE \(role);
                GRANT CREATE ON DATABASE \(shop.database.name) TO \(role);
                GRANT USAGE, CREATE ON SCHEMA public TO \(role);
                GRANT SELECT ON public.my_positions TO \(role)
                """
            )
            let job = HandOverScene(
                scene: shop.scene.connecting(to: shop.database.asRole(role)),
                template: shop.template
            )
            let refusals = try await job.plan().refusals
            #expect(refusals.count == 1)
            #expect(refusals.first?.contains("permission denied for table my_positions") == true)
            try await shop.database.execute("GRANT UPDATE ON public.my_positions TO \(role)")
            #expect(try await job.plan().refusals == [])
            let position = try await job.rebuild().position
            #expect(try await shop.position() == position)
            try await shop.database.execute("DROP OWNED BY \(role) CASCADE; DROP ROLE \(role)")
        }
    }
}
