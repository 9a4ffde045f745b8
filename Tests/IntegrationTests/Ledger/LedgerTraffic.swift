import Foundation
import Ledgers
import ProjectionKit
import Rebuilder
import Synchronization
import TestSupport
import Testing

/// Writers of a ledger that do what real ones do: clocks that jump, ids of every kind and none, times
/// that go back and ahead, repeated ids, and processes that are killed.
struct LedgerTraffic: Sendable {
    let seed: UInt64
    let path: String
    let folder: String
    let steps = Steps()

    /// Batches that each writer in this process appends.
    let batches = 10
    let writers = 3

    /// Counts what the writers have done, and lets others wait for it.
    final class Steps: Sendable {
        private struct State {
            var count = 0
            var waiters: [(count: Int, continuation: CheckedContinuation<Void, Never>)] = []
        }

        private let state = Mutex(State())

        func add() {
            let due = state.withLock { state in
                state.count += 1
                let due = state.waiters.filter { $0.count <= state.count }
                state.waiters.removeAll { $0.count <= state.count }
                return due
            }
            for waiter in due { waiter.continuation.resume() }
        }

        func reach(_ count: Int) async {
            await withCheckedContinuation { continuation in
                let isThere = state.withLock { state in
                    if state.count >= count { return true }
                    state.waiters.append((count, continuation))
                    return false
                }
                if isThere { continuation.resume() }
            }
        }
    }

    var totalSteps: Int { batches * writers }

    /// Lets all writers write to their ends.
    func run() async throws {
        try await withThrowingTaskGroup { group in
            for writer in 0..<writers {
                group.addTask { try await onThread { _ in try append(as: writer) } }
            }
            group.addTask { try await importWithKills(as: writers) }
            try await group.waitForAll()
        }
    }

    // MARK: Writers in this process

    private func append(as writer: Int) throws {
        var random = SeededRandom(seed: seed &* 31 &+ UInt64(writer))
        var stored: [NewEvent] = []
        var number = 0
        for _ in 0..<batches {
            let jump = Int64.random(in: -40_000_000_000...40_000_000_000, using: &random)
            try LedgerWriter.withWriter(
                path: path,
                patience: .seconds(60),
                clock: { LedgerClock.now() + jump }
            ) { ledger in
                var events: [NewEvent] = []
                for _ in 0..<Int.random(in: 1...60, using: &random) {
                    events.append(event(writer, number, &random))
                    number += 1
                }
                let appended = try ledger.append(events)
                #expect(appended.allSatisfy { !$0.wasPresent })
                #expect(appended.map(\.position) == appended.map(\.position).sorted())
                stored += events
                try repeatSome(of: stored, in: ledger, &random)
            }
            steps.add()
        }
    }

    /// The same id again: not stored with the same content, refused with another.
    private func repeatSome(
        of stored: [NewEvent],
        in ledger: LedgerWriter,
        _ random: inout SeededRandom
    ) throws {
        guard let known = stored.filter({ $0.id != nil }).randomElement(using: &random) else {
            return
        }
        let again = try ledger.append([known])
        #expect(again.map(\.wasPresent) == [true])
        var other = known
        other.data = #"{"w":-1,"n":-1}"#
        #expect(throws: LedgerError.self) { try ledger.append([other]) }
        var far = known
        far.id = nil
        far.time = Timestamp(microseconds: LedgerClock.now() + 400 * 86_400_000_000)
        #expect(throws: LedgerError.self) { try ledger.append([far]) }
    }

    private func event(_ writer: Int, _ number: Int, _ random: inout SeededRandom) -> NewEvent {
        let now = LedgerClock.now()
        let time: Int64? =
            switch Int.random(in: 0..<4, using: &random) {
            case 0: nil
            case 1: now - Int64.random(in: 0...864_000_000_000, using: &random)
            case 2: now + Int64.random(in: 0...40_000_000_000, using: &random)
            default: 1_700_000_000_000_000 + Int64.random(in: 0...90_000_000_000, using: &random)
            }
        return NewEvent(
            id: id(writer, number, &random),
            time: time.map { Timestamp(microseconds: $0) },
            // A stream that all share, and one of the writer's own.
            stream: Bool.random(using: &random) ? "shared" : "writer-\(writer)-\(number % 3)",
            type: "Happened",
            data: #"{"w":\#(writer),"n":\#(number)}"#
        )
    }

    private func id(_ writer: Int, _ number: Int, _ random: inout SeededRandom) -> String? {
        func hex(_ digits: Int) -> String {
            let text = String(random.next(), radix: 16)
            return String((String(repeating: "0", count: 16) + text).suffix(digits))
        }
        switch Int.random(in: 0..<5, using: &random) {
        case 0: return nil
        case 1: return "\(hex(8))-\(hex(4))-4\(hex(3))-8\(hex(3))-\(hex(12))"
        case 2: return "\(hex(8))-\(hex(4))-1\(hex(3))-9\(hex(3))-\(hex(12))"
        case 3: return "0198\(hex(4))-\(hex(4))-7\(hex(3))-a\(hex(3))-\(hex(12))"
        default: return "ordér/\(writer)/\(number)"
        }
    }

    // MARK: A process that is killed

    /// Imports a file again and again, each time killed somewhere, until it is in.
    private func importWithKills(as writer: Int) async throws {
        var random = SeededRandom(seed: seed &* 31 &+ UInt64(writer))
        let hasIDs = Bool.random(using: &random)
        let file = "\(folder)/import.ndjson"
        var lines = ""
        for number in 0..<3_000 {
            let id = hasIDs ? #""id":"import-\#(number)","# : ""
            let second = Int.random(in: 10...59, using: &random)
            lines +=
                #"{\#(id)"time":"2026-03-01T09:30:\#(second).000001Z","stream":"import-\#(number % 5)","#
                + #""type":"Happened","data":{"w":\#(writer),"n":\#(number)}}"# + "\n"
        }
        try lines.write(toFile: file, atomically: true, encoding: .utf8)
        let program = try BuiltProgram("reprise").path
        let arguments = ["ledger", "import", file, "--ledger", path]
        for _ in 0..<3 {
            let kill = Int.random(in: 0...totalSteps / 2, using: &random)
            _ = try await ChildProcess.withRunning(program, arguments) { child in
                await steps.reach(kill)
                child.signal(SIGKILL)
            }
        }
        // A file without ids that is in already is refused, which says that as well.
        let last = try await ChildProcess.run(program, arguments)
        #expect(last.status == 0 || !hasIDs, "\(last.standardError)")
    }
}
