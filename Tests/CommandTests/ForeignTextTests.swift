import Foundation
import Ledgers
import Postgres
import TestSupport
import Testing

/// What others named, in the output of each command.
@Suite("Foreign text in the output of commands")
struct ForeignTextTests {
    private func expectHarmless(
        _ outcome: ChildProcess.Outcome,
        exits status: Int32 = 0,
        showing words: String...,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        expect(outcome, exits: status, sourceLocation: sourceLocation)
        let text = outcome.standardOutput + outcome.standardError
        #expect(
            ForeignText.harm(in: text) == [],
            "\(text.debugDescription)",
            sourceLocation: sourceLocation
        )
        for word in words {
            #expect(
                text.contains("\(word)\\u{a}\(ForeignText.forged)\\u{1b}"),
                "\(word) in \(text)",
                sourceLocation: sourceLocation
            )
        }
    }

    private func identifier(_ word: String) -> String { "\"\(ForeignText.name(word))\"" }

    @Test(
        "objects of the database forge no line of plan, rebuild, status, prune and rollback (X11)"
    )
    func objects() async throws {
        try await withRebuildScene { scene in
            try scene.appendShop(events: 300, seed: 31)
            let reprise = RepriseProcess(scene)
            expect(try await reprise.run("rebuild shop"), exits: 0)
            try await withRole { role in
                try await scene.database.execute(
                    """
                    CREATE SCHEMA \(identifier("schema"));
                    CREATE VIEW \(identifier("schema")).\(identifier("view"))
                        AS SELECT order_id, paid_cents FROM public.order_summary;
                    CREATE VIEW public.\(identifier("outer"))
                        AS SELECT * FROM \(identifier("schema")).\(identifier("view"));
                    CREATE MATERIALIZED VIEW public.\(identifier("matview"))
                        AS SELECT order_id FROM public.order_summary;
                    CREATE INDEX \(identifier("index")) ON public.order_summary (paid_cents);
                    ALTER TABLE public.order_summary
                        ADD CONSTRAINT \(identifier("check")) CHECK (line_count >= 0);
                    CREATE TABLE public.\(identifier("table")) (
                        \(identifier("column")) uuid CONSTRAINT \(identifier("key"))
                        REFERENCES public.order_summary (order_id));
                    CREATE FUNCTION public.\(identifier("function"))() RETURNS trigger
                        LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
                    CREATE TRIGGER \(identifier("trigger")) AFTER UPDATE ON public.order_summary
                        FOR EACH ROW EXECUTE FUNCTION public.\(identifier("function"))();
                    CREATE POLICY \(identifier("policy")) ON public.order_summary
                        TO \(role) USING (true);
                    CREATE RULE \(identifier("rule")) AS ON UPDATE TO public.order_line
                        WHERE false DO NOTHING;
                    GRANT SELECT ON public.order_summary TO \(role)
                    """
                )
                let plan = try await reprise.run("plan shop")
                let outline = try object(try await reprise.run("plan shop --json"))
                let subjects = try #require(outline["findings"] as? [[String: Any]])
                    .compactMap { $0["subject"] as? String }
                #expect(subjects.contains { $0.contains(ForeignText.name("trigger")) })
                expectHarmless(plan, exits: plan.status, showing: "view", "trigger", "index")
                #expect([0, 3].contains(plan.status))
                let other = try await reprise.run("plan shop --strategy truncate")
                expectHarmless(other, exits: other.status)
                expectHarmless(try await reprise.run("rebuild shop"), exits: 3, showing: "key")
                expectHarmless(
                    try await reprise.run("rebuild shop --incoming-foreign-keys recreate"),
                    showing: "view"
                )
                expectHarmless(
                    try await reprise.run("rollback shop --incoming-foreign-keys recreate")
                )
                let truncate = try await reprise.run("rebuild shop --strategy truncate")
                expectHarmless(truncate, exits: truncate.status)
                expectHarmless(try await reprise.run("status shop"))
                try await scene.database.execute(
                    """
                    DROP POLICY \(identifier("policy")) ON public.order_summary;
                    REVOKE ALL ON public.order_summary FROM \(role)
                    """
                )
            }
        }
    }

    /// Lends a role with such a name, quoted; roles are the server's, so the name is of this test alone.
    private func withRole(_ body: (String) async throws -> Void) async throws {
        let role = "\"\(ForeignText.name(String(UUID().uuidString.prefix(8))))\""
        try await withScratchDatabase { database in
            try await database.execute("CREATE ROLE \(role)")
            let result: Result<Void, any Error>
            do { result = .success(try await body(role)) } catch { result = .failure(error) }
            try await database.execute("DROP OWNED BY \(role)")
            _ = try? await database.execute("DROP ROLE \(role)")
            try result.get()
        }
    }

    @Test("what keeps an old generation is named by prune in one line (X11)")
    func prune() async throws {
        try await withRebuildScene { scene in
            try scene.appendShop(events: 200, seed: 32)
            let reprise = RepriseProcess(scene)
            for _ in 1...2 { expect(try await reprise.run("rebuild shop"), exits: 0) }
            try await scene.database.execute(
                "CREATE VIEW public.\(identifier("view")) AS SELECT sku FROM shop__g1.order_line;"
                    + "CREATE VIEW public.second AS SELECT sku FROM shop__g1.order_line"
            )
            let pruned = try await reprise.run("prune shop --keep 0")
            expectHarmless(pruned)
            #expect(pruned.standardOutput.split(separator: "\n").count == 3)
            expectHarmless(try await reprise.run("rebuild shop --keep 0"))
        }
    }

    @Test("a trigger that raises forges no line of a message or of the bookkeeping (X11)")
    func raise() async throws {
        try await withRebuildScene { scene in
            try scene.appendShop(events: 200, seed: 33)
            let reprise = RepriseProcess(scene)
            expect(try await reprise.run("rebuild shop"), exits: 0)
            try await scene.database.execute(
                """
                CREATE FUNCTION public.refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$
                BEGIN
                    RAISE EXCEPTION E'no\\n\(ForeignText.forged)\\x1B[2K'
                        USING DETAIL = E'because\\n\(ForeignText.forged)\\x1B[2K',
                            HINT = E'hint\\n\(ForeignText.forged)\\x1B[2K';
                END $$;
                CREATE EVENT TRIGGER refuse ON ddl_command_start WHEN TAG IN ('CREATE SCHEMA')
                    EXECUTE FUNCTION public.refuse()
                """
            )
            let rebuild = try await reprise.run("rebuild shop")
            #expect(rebuild.status != 0)
            expectHarmless(rebuild, exits: rebuild.status, showing: "no")
            try await scene.database.execute("DROP EVENT TRIGGER refuse")
            let errors = try await scene.database.query(
                "SELECT error FROM reprise.run WHERE state = 'failed'"
            ).rows.compactMap { $0["error"] }
            for error in errors { #expect(ForeignText.harm(in: error) == []) }
        }
    }

    @Test("an event forges no line of plan, rebuild, follow and the bookkeeping (X11)")
    func events() async throws {
        try await withRebuildScene { scene in
            try scene.appendShop(events: 50, seed: 34)
            let reprise = RepriseProcess(scene)
            expect(try await reprise.run("rebuild shop"), exits: 0)
            try scene.append([
                NewEvent(
                    stream: ForeignText.name("stream"),
                    type: ForeignText.name("type"),
                    data: "{}"
                ),
                NewEvent(
                    id: ForeignText.name("id"),
                    stream: ForeignText.name("stream"),
                    type: "OrderPaid",
                    data: #"{"orderId":"x"}"#
                ),
            ])
            expectHarmless(try await reprise.run("plan shop"), showing: "type")
            expectHarmless(
                try await reprise.run("rebuild shop"),
                exits: 6,
                showing: "stream",
                "id"
            )
            expectHarmless(
                try await reprise.run("follow shop --until-caught-up"),
                exits: 6,
                showing: "stream"
            )
            expectHarmless(try await reprise.run("ledger info"), showing: "type")
            expectHarmless(try await reprise.run("ledger show"))
            let errors = try await scene.database.query(
                "SELECT error FROM reprise.run WHERE state = 'failed'"
            ).rows.compactMap { $0["error"] }
            #expect(errors.count == 1)
            for error in errors { #expect(ForeignText.harm(in: error) == []) }
        }
    }

    @Test("a setting and an argument forge no line (X11)")
    func settings() async throws {
        try await withRebuildScene { scene in
            let reprise = RepriseProcess(scene)
            let text = "x\n\(ForeignText.forged)\u{1B}[2K\u{202E}"
            for variable in [
                "REPRISE_BLOCKERS", "REPRISE_STRATEGY", "REPRISE_SCHEMA", "REPRISE_LEDGER",
            ] {
                let outcome = try await reprise.run("rebuild shop", environment: [variable: text])
                expectHarmless(outcome, exits: outcome.status)
            }
            for arguments in [["status", text], ["rebuild", "shop", "--keep", text], [text]] {
                let outcome = try await reprise.run(arguments)
                #expect(outcome.status == 2)
                #expect(!(outcome.standardError + outcome.standardOutput).contains("\u{1B}"))
            }
            let address = "postgresql://\(ForeignText.forged.filter(\.isLetter))%0A\(text)@/none"
            let outcome = try await reprise.run("status", environment: ["DATABASE_URL": address])
            expectHarmless(outcome, exits: 75)
            try Data("\"blo\\n\(ForeignText.forged)\\e[2K\": 1\n".utf8)
                .write(to: URL(fileURLWithPath: "\(reprise.folder)/reprise.yaml"))
            expectHarmless(try await reprise.run("status"), exits: 2)
        }
    }
}
