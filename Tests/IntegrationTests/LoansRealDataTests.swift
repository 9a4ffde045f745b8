internal import Foundation
internal import Ledgers
internal import LoansProjection
internal import Postgres
internal import Rebuilder
internal import TestSupport
internal import Testing

@Suite("The loans of a real bank")
struct LoansRealDataTests {
    @Test("the read model shows the published figures of the log")
    func publishedFigures() async throws {
        let log = Self.projectRoot.appending(path: "../shared/data/bpic2012.ndjson.gz").path
        guard FileManager.default.fileExists(atPath: log) else {
            print("NOT TESTED: the real event log is absent, there is no \(log)")
            return
        }
        try await withRebuildScene { scene in
            let imported = try LedgerImport(file: log, ledger: scene.ledgerPath).run()
            #expect(imported.stored == 262_200)
            let report = try await scene.rebuild(Loans.self)
            #expect(report.events == 262_200)

            let states = try await scene.database.query(
                """
                SELECT state, count(*) AS applications FROM public.loan_application GROUP BY state
                """
            )
            var applications: [String: Int64] = [:]
            for row in states.rows {
                applications[try row.string("state")] = try row.int("applications")
            }
            #expect(applications.values.reduce(0, +) == 13_087)
            #expect(applications.removeValue(forKey: "approved") == 2_246)
            #expect(applications.removeValue(forKey: "declined") == 7_635)
            #expect(applications.removeValue(forKey: "cancelled") == 2_807)
            #expect(applications.values.reduce(0, +) == 399)

            let offers = try await scene.database.query(
                """
                SELECT (SELECT count(*) FROM public.loan_application WHERE offers > 0) AS with_offer,
                    (SELECT sum(offers) FROM public.loan_application) AS offers,
                    (SELECT sum(events) FROM public.loan_offer_daily
                     WHERE offer_event = 'O_CREATED') AS created
                """
            )
            let row = try #require(offers.first)
            #expect(try row.int("with_offer") == 5_015)
            #expect(try row.int("offers") == 7_030)
            #expect(try row.int("created") == 7_030)
        }
    }

    private static let projectRoot = URL(filePath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
}
