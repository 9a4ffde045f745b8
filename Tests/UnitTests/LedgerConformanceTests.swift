import LedgerConformance
import LedgerKit
import Ledgers
import ProjectionKit
import TestSupport
import Testing

@Suite("The conformance suite of ledgers")
struct LedgerConformanceTests {
    @Test(
        "a ledger that keeps every promise has no violation",
        arguments: [Arrival.inOrder, .late],
        [1, 15_000, 86_400_000] as [Int64]
    )
    func sound(arrival: Arrival, bucketWidth: Int64) {
        let conformance = LedgerConformance {
            let ledger = MemoryLedger(arrival, bucketWidth: bucketWidth)
            return LedgerSubject(
                open: { ledger },
                append: { events in ledger.append(events.map(\.new)) }
            )
        }
        #expect(conformance.violations() == [])
    }

    @Test("a broken promise is named by its check", arguments: LedgerFault.allCases)
    func faulty(fault: LedgerFault) {
        var conformance = LedgerConformance {
            let ledger = FaultyLedger(fault)
            return LedgerSubject(
                open: { ledger },
                append: { events in ledger.append(events.map(\.new)) }
            )
        }
        if fault == .blocksWriters { conformance.writerPatience = 1 }
        let violations = conformance.violations(of: [fault.check])
        print("\(fault):", violations.first ?? "nothing")
        #expect(violations.contains { $0.hasPrefix("\(fault.check): ") })
    }

    @Test("what a store is said to lose is passed over, and nothing else")
    func losses() {
        let losses: [(LedgerFault, LedgerSubject.Losses)] = [
            (.losesIDs, .ids), (.losesMetadata, .metadata), (.losesMicroseconds, .microseconds),
            (.trimsPayloads, .payloadText),
        ]
        for (fault, loss) in losses {
            for (said, isPassedOver) in [(loss, true), ([], false)] {
                let violations = LedgerConformance {
                    let ledger = FaultyLedger(fault)
                    return LedgerSubject(
                        losing: said,
                        open: { ledger },
                        append: { events in ledger.append(events.map(\.new)) }
                    )
                }.violations(of: ["content"])
                let isFound = violations.contains { $0.hasPrefix("content: ") }
                #expect(isFound != isPassedOver, "\(fault): \(violations)")
            }
        }
    }

    @Test("what the ledger throws is a violation, and the other checks are made")
    func throwing() {
        struct Refusal: Error {}
        let violations = LedgerConformance {
            let ledger = MemoryLedger(.inOrder)
            return LedgerSubject(
                open: { ledger },
                append: { events in
                    guard events.count > 1 else { throw Refusal() }
                    ledger.append(events.map(\.new))
                }
            )
        }.violations()
        #expect(violations == ["watch: the ledger threw: Refusal()"])
    }
}

extension AppendableEvent {
    /// The same event for ledgers of this package.
    var new: NewEvent {
        NewEvent(
            id: id,
            time: time,
            stream: stream,
            type: type,
            data: payload,
            metadata: metadata
        )
    }
}
