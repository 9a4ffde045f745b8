import ProjectionKit
import Testing

@testable import Rebuilder

@Suite("How old the rows of a position are")
struct LedgerEndsTests {
    private let start = ContinuousClock.now

    private func at(_ seconds: Double) -> ContinuousClock.Instant { start + .seconds(seconds) }

    @Test("Rows at an end that was seen three seconds ago are three seconds old")
    func age() {
        var ends = LedgerEnds(now: start)
        ends.see(Position(10), now: at(1))
        ends.see(Position(20), now: at(2))
        ends.see(Position(30), now: at(3))
        ends.reach(Position(20))
        #expect(ends.age(now: at(5)) == 3)
        ends.reach(Position(29))
        #expect(ends.age(now: at(5)) == 3)
        ends.reach(Position(30))
        #expect(ends.age(now: at(5)) == 2)
    }

    @Test("Far behind, memory stays bounded and the age right to a share of the whole")
    func bounded() {
        var ends = LedgerEnds(now: start)
        for second in 1...100_000 {
            ends.see(Position(UInt64(second)), now: at(Double(second)))
        }
        ends.reach(Position(50_000))
        let age = ends.age(now: at(100_000))
        #expect(age >= 50_000 && age < 52_000)
    }
}
