import Synchronization

/// Runs blocking work on a thread of its own, off the cooperative pool.
///
/// - Parameter work: It is handed a function that throws `CancellationError` once the task is
///   cancelled, and calls it whenever it can stop.
/// - Returns: What `work` returns.
/// - Throws: What `work` throws; ``ThreadShortage`` where no thread could be started for 3 s.
package func onThread<Result: Sendable>(
    _ work:
        @escaping @Sendable (_ checkCancellation: @escaping @Sendable () throws -> Void) throws ->
        Result
) async throws -> Result {
    let cancellation = CancellationFlag()
    return try await withTaskCancellationHandler {
        try await withCheckedThrowingContinuation { continuation in
            let isStarted = PlainThread.startPatiently {
                continuation.resume(
                    with: Swift.Result {
                        try work { if cancellation.isRaised { throw CancellationError() } }
                    }
                )
            }
            if !isStarted { continuation.resume(throwing: ThreadShortage()) }
        }
    } onCancel: {
        cancellation.raise()
    }
}

private final class CancellationFlag: Sendable {
    private let flag = Atomic(false)

    var isRaised: Bool { flag.load(ordering: .relaxed) }

    func raise() { flag.store(true, ordering: .relaxed) }
}
