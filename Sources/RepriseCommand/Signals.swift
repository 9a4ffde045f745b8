internal import CSignalPipe
internal import Glibc
internal import Rebuilder
internal import Synchronization
internal import Wording

/// Signals by the names that people know.
enum SignalName {
    static func of(_ signal: Int32) -> String {
        switch signal {
        case SIGHUP: "SIGHUP"
        case SIGINT: "SIGINT"
        case SIGTERM: "SIGTERM"
        default: "signal \(signal)"
        }
    }
}

/// The first of the signals that cancel a command.
enum ReceivedSignal {
    private static let number = Atomic<Int32>(0)

    /// Nil before it comes.
    static var first: Int32? {
        let number = number.load(ordering: .acquiring)
        return number == 0 ? nil : number
    }

    fileprivate static func take(_ signal: Int32) {
        number.store(signal, ordering: .releasing)
    }
}

/// Runs `work`, and cancels it when SIGHUP, SIGINT or SIGTERM comes.
///
/// After the first signal the next one ends the process as usual, for a user who does not want to
/// wait; so does the time, when the work has not ended 25 s later. A SIGHUP that the caller ignores (`nohup`) stays ignored.
///
/// - Parameter work: The work; it returns soon after its task is cancelled.
/// - Returns: What `work` returned, and the signal that cancelled it.
func withSignalsCancelling<Result: Sendable>(
    _ work: @escaping @Sendable () async -> Result
) async -> (result: Result, signal: Int32?) {
    let watch = SignalWatch()
    let task = Task { await work() }
    watch.begin { task.cancel() }
    let result = await task.value
    return (result, ReceivedSignal.first)
}

/// A thread of its own that waits for signals, ends a process that does not end after one, and notices
/// when no further thread can be made.
///
/// Foundation and libdispatch wait for ever for a thread that the machine does not give, and then
/// nothing of the work runs any more, not even what a cancelled task should do.
private final class SignalWatch: Sendable {
    private let readEnd: Int32

    /// How long the work may take after a signal.
    ///
    /// Kubernetes sends SIGKILL 30 s after SIGTERM (`terminationGracePeriodSeconds`), systemd after
    /// 90 s (`DefaultTimeoutStopSec`); what stops a command takes 10 s at most, twice
    /// `StatementCanceller.patienceSeconds`, or the time that a hook has to end.
    private static let grace = Duration.seconds(25)

    /// How often in a row no thread could be made before the process ends, a second apart.
    private static let patience = 3

    init() {
        let (numbers, keepsIgnored): ([Int32], [Int32]) = ([SIGHUP, SIGINT, SIGTERM], [1, 0, 0])
        readEnd = signal_pipe_open(numbers, keepsIgnored, numbers.count)
    }

    /// Calls `cancel` when a signal comes, on the watch's thread.
    func begin(_ cancel: @escaping @Sendable () -> Void) {
        let isBegun = PlainThread.start(stackSize: 256 * 1024) { self.watch(cancel) }
        if readEnd < 0 || !isBegun { endForShortage() }
    }

    private func watch(_ cancel: () -> Void) {
        var failures = 0
        var end: ContinuousClock.Instant?
        while true {
            var descriptor = pollfd(fd: readEnd, events: Int16(POLLIN), revents: 0)
            if poll(&descriptor, 1, 1_000) > 0 {
                var number: UInt8 = 0
                guard read(readEnd, &number, 1) == 1 else { continue }
                ReceivedSignal.take(Int32(number))
                end = .now + Self.grace
                cancel()
            }
            if let end, end < .now { endUnfinished() }
            failures = PlainThread.canStart ? 0 : failures + 1
            if failures == Self.patience { endForShortage() }
        }
    }

    /// Ends the process whose work has not ended after a signal.
    private func endUnfinished() -> Never {
        end(
            saying: """
                \(Self.interruption)The command had not stopped \(Self.grace.components.seconds) s \
                later, and was not waited for.
                The live tables are one generation or the other, whole; what was not committed is undone.
                Run '\(ProgramName.current) status' to see which, then the same command again.
                """
        )
    }

    /// Ends the process without a word to its other threads, which wait for ever.
    private func endForShortage() -> Never {
        let shortage: any Error = readEnd < 0 ? DescriptorShortage() : ThreadShortage()
        end(saying: "\(Self.interruption)\(shortage)")
    }

    private static var interruption: String {
        ReceivedSignal.first.map { "Interrupted by \(SignalName.of($0)). " } ?? ""
    }

    private func end(saying message: String) -> Never {
        let text = "Error: \(message)\n"
        _ = Array(text.utf8).withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
        let status = ReceivedSignal.first.map { 128 + $0 } ?? ExitStatus.unexpected.rawValue
        ResultStream.printFailure(message, status: status)
        _exit(status)
    }
}
