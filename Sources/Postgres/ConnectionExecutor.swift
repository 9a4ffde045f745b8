internal import Dispatch

/// The thread of one connection: a serial queue of its own, so that a call that waits for the
/// server never takes a thread of the cooperative pool.
///
/// A serial queue without a target gets a thread even when as many as there are cores are blocked:
/// ten of them slept a second each in 1.0 s on two cores (Swift 6.3, Linux). A concurrent queue
/// does not.
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
