import Foundation
import Postgres

/// Tries with growing lock timeouts and pauses in between, until the deadline.
///
/// NOWAIT starves on a busy table and one long wait is one long outage: a waiting ACCESS EXCLUSIVE
/// lock blocks every reader that comes after it. Measured with six readers of 0 to 40 ms: no grant
/// in 60 attempts at 0 ms, 15 at 20 ms, all at 50 ms.
struct LockLadder: Sendable {
    let database: ReadModelDatabase
    let run: Run
    let patience: CutOverPatience
    /// Told what the cut-over waits for when nothing else says so.
    let notice: @Sendable (String) -> Void

    /// Lock timeouts of the attempts that queue, in milliseconds; the last one goes on.
    static let timeouts = [20, 50, 100, 200, 400]

    /// Why an attempt failed whose process stood still for longer than its locks may.
    static let stoppedProcess =
        "this process, which stood still for longer than \(Fence.idleTimeout) while it held locks"

    /// An attempt that left no trace, and may go well the next time.
    struct Blocked: Error {
        /// Who held a lock that the attempt needed.
        var blockers: [Blocker] = []
        /// What else stood in its way.
        var reasons: [String] = []
        /// How long readers can have queued behind it, in milliseconds; 0 when it only looked.
        var waited = 0.0
        /// What the swap itself took when it was longer than the budget allows, in milliseconds.
        var overrun: Overrun?
        /// What it would have had to lock, when that alone takes longer than the budget leaves for it.
        var crowding: Crowding?
        var readyGeneration: Int?
    }

    /// A cut-over that was undone because it took too long.
    struct Overrun {
        /// From asking for the first lock, in milliseconds.
        let total: Double
        /// The part of it in which the locks were held.
        let batch: Double
    }

    /// A cut-over that was undone because it has too much to lock.
    struct Crowding {
        /// The locks that it needs.
        let locks: Int
        /// Those that it had when the time was over.
        let got: Int
        /// The time for them.
        let milliseconds: Int
    }

    /// What the attempts so far have shown.
    private struct Climb {
        var attempts = 0
        /// Attempts after which readers may have queued.
        var queued = 0
        var looks = 0
        var longestWait = 0.0
        var lastBatch: Double?
        var watch = BlockerWatch()
        var signalled: [String] = []
        /// What a policy could not do to a blocker, and why.
        var notes: [Blocker.Key: String] = [:]
        /// Whether the last attempt's blockers were signalled just now.
        var isWayMade = false
    }

    /// Tries until an attempt goes well.
    ///
    /// - Parameters:
    ///   - ready: What has to be done before each attempt; the deadline does not count its time.
    ///   - attempt: One attempt.
    /// - Returns: What the attempt returned that went well.
    /// - Throws: ``ReadModelError`` after the deadline; whatever else `attempt` and `ready` throw.
    func climb(
        ready: () async throws -> Void = {},
        _ attempt: (Rung, BlockerWatch) async throws -> CutOverResult
    ) async throws -> CutOverResult {
        var deadline = ContinuousClock.now + .seconds(patience.deadline)
        var climb = Climb()
        while true {
            deadline += try await waitWhilePostponed()
            let began = ContinuousClock.now
            try await ready()
            deadline += .now - began
            climb.attempts += 1
            do {
                var result = try await attempt(rung(climb), climb.watch)
                result.signalled = climb.signalled
                return result
            } catch let blocked as Blocked {
                try await take(blocked, into: &climb)
                let rest = deadline - .now
                guard rest > .zero else { throw failure(blocked, climb) }
                try await Task.sleep(for: min(rest, pause(after: blocked, climb)))
            }
        }
    }

    private func rung(_ climb: Climb) -> Rung {
        Rung(
            attempt: climb.attempts,
            lockTimeout: Self.timeouts[min(climb.queued, Self.timeouts.count - 1)],
            budget: patience.outageBudget,
            lastBatch: climb.lastBatch,
            longestFailedWait: climb.longestWait
        )
    }

    private func take(_ blocked: Blocked, into climb: inout Climb) async throws {
        climb.longestWait = max(climb.longestWait, blocked.waited)
        climb.lastBatch = blocked.overrun?.batch ?? climb.lastBatch
        if blocked.waited > 0 {
            climb.queued += 1
            climb.looks = 0
        } else {
            climb.looks += 1
        }
        climb.watch.see(blocked.blockers)
        climb.isWayMade = false
        guard patience.blockers != .wait else { return }
        let due = blocked.blockers.filter {
            climb.watch.seconds(of: $0.key) >= patience.blockersAfter
        }
        guard !due.isEmpty else { return }
        try await database.withConnection(as: "signal", doing: "signalling blockers") {
            for blocker in due where blocker.key.pid != run.connection.backendPID {
                switch try await blocker.signal(patience.blockers, on: $0) {
                case .sent(let what):
                    climb.signalled.append("\(what): \(blocker)")
                    climb.watch.restart(blocker.key)
                    climb.isWayMade = true
                case .spared(let why): climb.notes[blocker.key] = why
                }
            }
        }
    }

    /// How long to wait before the next attempt.
    ///
    /// An attempt that queued has held up readers, so that the next one is put off for longer and
    /// longer, with jitter, so that two swappers do not meet again and again. One that only looked
    /// has held up nobody.
    private func pause(after blocked: Blocked, _ climb: Climb) -> Duration {
        if climb.isWayMade { return .milliseconds(50) }
        let isLook = blocked.waited == 0
        let doublings = min(isLook ? climb.looks - 1 : climb.queued - 1, 9)
        // Ten attempts at least fit into the deadline, however often they are put off.
        let limit = isLook ? 1_000 : min(30_000, max(1_000, patience.deadline * 100))
        let longest = min(100 * Double(1 << doublings), limit)
        let pause = Double.random(in: 10...longest)
        guard patience.blockers != .wait, !blocked.blockers.isEmpty else {
            return .milliseconds(pause)
        }
        // The next look comes when the first of them is due.
        let longestThere = blocked.blockers.map { climb.watch.seconds(of: $0.key) }.max() ?? 0
        let due = (patience.blockersAfter - longestThere) * 1_000
        return .milliseconds(due > 0 ? min(pause, max(10, due)) : pause)
    }

    /// - Returns: How long the file was there.
    private func waitWhilePostponed() async throws -> Duration {
        guard let file = patience.postponeFile, FileManager.default.fileExists(atPath: file) else {
            return .zero
        }
        let begin = ContinuousClock.now
        notice("The cut-over waits as long as the file '\(file)' is there; remove it to go on.")
        while FileManager.default.fileExists(atPath: file) {
            try await Task.sleep(for: .milliseconds(200))
        }
        return .now - begin
    }

    private func failure(_ blocked: Blocked, _ climb: Climb) -> ReadModelError {
        if let overrun = blocked.overrun {
            return .overBudget(
                projection: run.projection,
                attempts: climb.attempts,
                milliseconds: Int(overrun.total.rounded(.up)),
                budget: patience.outageBudget,
                readyGeneration: blocked.readyGeneration
            )
        }
        if let crowding = blocked.crowding {
            return .tooMuchToLock(
                projection: run.projection,
                attempts: climb.attempts,
                locks: crowding.locks,
                got: crowding.got,
                milliseconds: crowding.milliseconds,
                readyGeneration: blocked.readyGeneration
            )
        }
        let causes =
            blocked.blockers.map { blocker in
                blocker.description + (climb.notes[blocker.key].map { "; \($0)" } ?? "")
            } + blocked.reasons
        return .cutOverBlocked(
            projection: run.projection,
            attempts: climb.attempts,
            blockers: causes.isEmpty ? ["a session that has released its lock meanwhile"] : causes,
            haveSessions: causes.isEmpty || blocked.blockers.contains(where: \.mayBeClient),
            readyGeneration: blocked.readyGeneration
        )
    }
}
