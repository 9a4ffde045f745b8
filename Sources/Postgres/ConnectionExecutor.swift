internal import Dispatch

/// The thread of one connection: a serial queue of its own, so that a call that waits for the
/// server never takes a thread of the cooperative pool.
///
/// A serial queue without a target runs on an overcommitting root queue: the system adds a thread
/// when the others are blocked.
final class ConnectionExecutor: SerialExecutor {
    private let queue = DispatchQueue(label: "reprise.postgres.connection")

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        queue.async { job.runSynchronously(on: self.asUnownedSerialExecutor()) }
    }

    func asUnownedSerialExecutor() -> UnownedSerialExecutor {
        UnownedSerialExecutor(ordinary: self)
    }

    func checkIsolated() {
        dispatchPrecondition(condition: .onQueue(queue))
    }

    /// Runs `work` on the queue before there is an actor to run it.
    func perform<Value: Sendable>(
        _ work: @escaping @Sendable () throws -> Value
    ) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            queue.async { continuation.resume(with: Result(catching: work)) }
        }
    }
}
