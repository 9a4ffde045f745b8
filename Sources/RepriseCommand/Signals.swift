internal import CSignalPipe
internal import Glibc
internal import Rebuilder
internal import Synchronization

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

/// Runs `work`, and cancels it when SIGHUP, SIGINT or SIGTERM comes.
///
/// After the first signal the next one ends the process as usual, for a user who does not want to
/// wait. A SIGHUP that the caller ignores (`nohup`) stays ignored.
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
    return (result, watch.signal)
}

/// A thread of its own that waits for signals, and notices when no further thread can be made.
///
/// Foundation and libdispatch wait for ever for a thread that the machine does not give, and then
/// nothing of the work runs any more, not even what a cancelled task should do.
private final class SignalWatch: Sendable {
    /// 0 before the first one.
    private let received = Atomic<Int32>(0)
    private let readEnd: Int32

    /// How often in a row no thread could be made before the process ends, a second apart.
    private static let patience = 3

    init() {
        let (numbers, keepsIgnored): ([Int32], [Int32]) = ([SIGHUP, SIGINT, SIGTERM], [1, 0, 0])
        readEnd = signal_pipe_open(numbers, keepsIgnored, numbers.count)
    }

    /// The signal that came.
    var signal: Int32? {
        let signal = received.load(ordering: .acquiring)
        return signal == 0 ? nil : signal
    }

    /// Calls `cancel` when a signal comes, on the watch's thread.
    func begin(_ cancel: @escaping @Sendable () -> Void) {
        let isBegun = PlainThread.start(stackSize: 256 * 1024) { self.watch(cancel) }
        if readEnd < 0 || !isBegun { endForShortage() }
    }

    private func watch(_ cancel: () -> Void) {
        var failures = 0
        while true {
            var descriptor = pollfd(fd: readEnd, events: Int16(POLLIN), revents: 0)
            if poll(&descriptor, 1, 1_000) > 0 {
                var number: UInt8 = 0
                guard read(readEnd, &number, 1) == 1 else { continue }
                received.store(Int32(number), ordering: .releasing)
                cancel()
            }
            failures = PlainThread.canStart ? 0 : failures + 1
            if failures == Self.patience { endForShortage() }
        }
    }

    /// Ends the process without a word to its other threads, which wait for ever.
    private func endForShortage() -> Never {
        let signal = self.signal
        let interruption = signal.map { "Interrupted by \(SignalName.of($0)). " } ?? ""
        let message = "Error: \(interruption)\(ThreadShortage())\n"
        _ = Array(message.utf8).withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
        _exit(signal.map { 128 + $0 } ?? ExitStatus.unexpected.rawValue)
    }
}
