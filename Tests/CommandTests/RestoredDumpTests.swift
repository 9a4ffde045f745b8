import Foundation
import Postgres
import TestSupport
import Testing

@Suite("A database that was made from a dump")
struct RestoredDumpTests {
    @Test("C10: is refused with the name of the script that helps, and works behind it")
    func restored() async throws {
        try await withRebuildScene { scene in
            try scene.appendShop(events: 500, seed: 51)
            var reprise = RepriseProcess(scene)
            expect(try await reprise.run("rebuild shop"), exits: 0)
            try scene.appendShop(events: 50, seed: 52)
            expect(try await reprise.run("rebuild shop"), exits: 0)
            try scene.appendShop(events: 50, seed: 53)
            expect(try await reprise.run("rebuild shop --no-swap"), exits: 0)
            let dump = try await ChildProcess.run("pg_dump", ["-d", scene.database.url])
            #expect(dump.status == 0)
            try await withScratchDatabase { copy in
                let psql = ["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", copy.url]
                let text = dump.standardOutput.replacing("CREATE SCHEMA public;", with: "")
                let restore = try await ChildProcess.run("psql", psql, input: text)
                #expect(restore.status == 0, "\(restore.standardError)")
                reprise.databaseURL = copy.url
                for line in ["rebuild shop", "rollback shop", "prune shop --keep 0", "swap shop"] {
                    let refused = try await reprise.run(line)
                    #expect(refused.status == 3, "\(line): \(refused.standardError)")
                    #expect(refused.standardError.contains("\"A restored dump\""))
                }
                // Each of them is in the way, and one message names all.
                let all = try await reprise.run("prune shop --keep 0")
                for home in ["'shop__g1' (generation 1)", "'shop__g3' (generation 3)"] {
                    #expect(all.standardError.contains(home), "\(all.standardError)")
                }
                let script = try GrantsScript.block("restored-dump.sql", of: "docs/operating.md")
                let run = try await ChildProcess.run("psql", psql, input: script)
                #expect(run.status == 0, "\(run.standardError)")
                for line in [
                    "status shop", "rollback shop", "swap shop --allow-older", "rebuild shop",
                    "prune shop --keep 0", "follow shop --until-caught-up",
                ] {
                    expect(try await reprise.run(line), exits: 0)
                }
                let homes = try await copy.query(
                    "SELECT nspname FROM pg_namespace WHERE nspname ~ '__g[0-9]' ORDER BY 1"
                ).rows
                // The live generation has none, or an empty one.
                #expect(homes.count <= 1)
            }
        }
    }
}
