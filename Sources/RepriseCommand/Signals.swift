internal import Dispatch
internal import Glibc

/// Signals by the names that people know.
enum SignalName {
    static func of(_ signal: Int32) -> String {
        switch signal {
        case SIGINT: "SIGINT"
        case SIGTERM: "SIGTERM"
        default: "signal \(signal)"
        }
    }
}

/// Runs `work`, and cancels it when SIGINT or SIGTERM comes.
///
/// After the first signal the next one ends the process as usual, for a user who does not want to
/// wait.
///
/// - Parameter work: The work; it returns soon after its task is cancelled.
/// - Returns: What `work` returned, and the signal that cancelled it.
func withSignalsCancelling<Result: Sendable>(
    _ work: @escaping @Sendable () async -> Result
) async -> (result: Result, signal: Int32?) {
    let signals = SignalSources()
    return await withTaskGroup(of: Ending<Result>.self) { group in
        group.addTask { .finished(await work()) }
        group.addTask {
            for await signal in signals.stream { return .signalled(signal) }
            return .unwatched
        }
        var received: Int32?
        while let ending = await group.next() {
            switch ending {
            case .finished(let result):
                group.cancelAll()
                return (result, received)
            case .signalled(let signal):
                received = signal
                signals.restoreDefaults()
                group.cancelAll()
            case .unwatched: continue
            }
        }
        preconditionFailure("the work ended without a result")
    }
}

private enum Ending<Result: Sendable>: Sendable {
    case finished(Result)
    case signalled(Int32)
    case unwatched
}

/// SIGINT and SIGTERM as a stream.
private struct SignalSources: Sendable {
    private static let numbers = [SIGINT, SIGTERM]

    let stream: AsyncStream<Int32>

    init() {
        let (stream, continuation) = AsyncStream.makeStream(of: Int32.self)
        self.stream = stream
        // The sources live as long as the stream's continuation, which their handlers hold.
        let sources = Self.numbers.map { number in
            // Dispatch sees a signal only if its default action does not end the process first.
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
            source.setEventHandler { continuation.yield(number) }
            source.resume()
            return SendableSource(source: source)
        }
        continuation.onTermination = { _ in for source in sources { source.source.cancel() } }
    }

    func restoreDefaults() {
        for number in Self.numbers { signal(number, SIG_DFL) }
    }
}

/// `@unchecked Sendable`: after `resume` it is only cancelled, which libdispatch allows from any
/// thread.
private struct SendableSource: @unchecked Sendable {
    let source: any DispatchSourceSignal
}
