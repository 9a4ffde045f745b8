import Foundation
import Postgres
import ReadModels
import Rebuilder
import TestSupport
import Testing

@Suite("Probe of sizes")
struct ScaleProbe {
    @Test("probe", .enabled(if: ProcessInfo.processInfo.environment["PROBE"] != nil))
    func probe() async throws {
        let what = ProcessInfo.processInfo.environment["PROBE"] ?? ""
        for n in (ProcessInfo.processInfo.environment["PROBE_N"] ?? "100 200 400 800").split(
            separator: " "
        ).compactMap({ Int($0) }) {
            var table = "CREATE TABLE live (id int PRIMARY KEY, v text)"
            var setUp = ""
            switch what {
            case "defaults":
                table =
                    "CREATE TABLE live (id int PRIMARY KEY, v text, "
                    + (0..<n).map { "d\($0) text NOT NULL DEFAULT 'x\($0)'" }.joined(
                        separator: ", "
                    ) + ")"
            case "indexes":
                setUp = (0..<(n / 4)).map {
                    "CREATE INDEX i\($0) ON s.live (v, id) WHERE id <> \($0)"
                }.joined(separator: ";")
            case "views":
                setUp = (0..<n).map { "CREATE VIEW s.w\($0) AS SELECT * FROM s.live" }.joined(
                    separator: ";"
                )
            case "grants":
                setUp = (0..<n).map {
                    "CREATE ROLE probe_\($0); GRANT SELECT, INSERT ON s.live TO probe_\($0); GRANT USAGE ON SCHEMA s TO probe_\($0)"
                }.joined(separator: ";")
            case "relations":
                setUp = (0..<n).map { "CREATE TABLE s.t\($0) (id int PRIMARY KEY, v text)" }.joined(
                    separator: ";"
                )
            default: break
            }
            for shape in what == "defaults" ? [Shape.cloned, .declared] : [Shape.cloned] {
                try await withHazard(shape, table: table, setUp: setUp) { hazard in
                    func timed(_ name: String, _ body: () async throws -> Void) async throws {
                        let begin = ContinuousClock.now
                        do { try await body() } catch { print("PROBE failed \(name): \(error)") }
                        print(
                            "PROBE \(what) \(shape) \(n) \(name) \((ContinuousClock.now - begin) / .milliseconds(1)) ms"
                        )
                    }
                    try await timed("plan") { _ = try await hazard.plan() }
                    try await timed("build") { try await hazard.build() }
                    try await timed("swap") {
                        let r = try await hazard.swap(
                            patience: CutOverPatience(outageBudget: 20_000)
                        )
                        print("PROBE   blocked \(r.blockedMilliseconds)")
                    }
                    try await timed("rollback") {
                        let r = try await hazard.rollback(
                            patience: CutOverPatience(outageBudget: 20_000)
                        )
                        print("PROBE   blocked \(r.blockedMilliseconds)")
                    }
                    if what == "grants" {
                        try await hazard.execute(
                            (0..<n).map { "DROP OWNED BY probe_\($0); DROP ROLE probe_\($0)" }
                                .joined(separator: ";")
                        )
                    }
                }
            }
        }
    }
}
