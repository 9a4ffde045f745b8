import Postgres
import Testing

@testable import ReadModels

@Suite("The limits of one attempt")
struct RungTests {
    private func error(_ sqlState: String, _ detail: String? = nil) -> ServerError {
        ServerError(
            sqlState: sqlState,
            severity: "ERROR",
            message: "m",
            detail: detail,
            hint: nil,
            context: nil,
            schema: nil,
            table: nil,
            column: nil,
            constraint: nil,
            position: nil
        )
    }

    @Test("locks that take long are no cut-over that takes longer than its budget (S17)")
    func slowLocks() {
        let rung = Rung(budget: 200)
        // As where the statements before the first lock had taken six seconds.
        #expect(rung.overrun(error(Rung.locksTooLong, "3 f"), after: 6_208) == nil)
        #expect(rung.crowding(error(Rung.locksTooLong, "3 f"), among: 4) == nil)
        let crowding = rung.crowding(error(Rung.locksTooLong, "672 t"), among: 1_501)
        #expect(crowding?.got == 672 && crowding?.locks == 1_501)
        #expect(rung.overrun(error("57014"), after: 201)?.total == 201)
        #expect(rung.overrun(error("57014"), after: 20) == nil)
    }
}
