import Foundation
import Glibc

/// How a hook ended.
package enum HookEnding: Equatable, Sendable {
    /// With this exit status; 0 is good.
    case exited(Int32)
    /// By a signal of this number.
    case signalled(Int32)
    /// It could not be started.
    case notStarted(reason: String)
    /// It took longer than so many seconds and was ended.
    case tookTooLong(Double)
}

/// A command line that `/bin/sh` runs in another process group than this process, so that it can be
/// ended with everything it has started.
///
/// It reads nothing, and what it writes goes to this process's standard error: standard output
/// is for results. Foundation's `Process` promises no process group, hence `posix_spawn(3)`.
///
/// A second shell, the watcher, ends the group when this process is gone, whatever ended it: it reads
/// from a pipe whose other end nobody else has. It is there before the hook, and leads the group, so that
/// there is no moment at which nobody would end the hook.
struct HookProcess {
    private let pid: pid_t
    private let group: pid_t
    private let watcher: HookWatcher?

    /// Between SIGTERM and SIGKILL.
    private static let grace = Duration.seconds(5)

    /// Runs a command line to its end, on a thread of its own.
    ///
    /// When the task is cancelled its process group gets SIGTERM, and SIGKILL when it still runs 5 s
    /// later; the same when it takes too long.
    ///
    /// - Parameters:
    ///   - line: What the shell reads.
    ///   - environment: Variables that are laid over this process's own.
    ///   - timeout: Seconds that it may take.
    /// - Returns: How it ended.
    /// - Throws: `CancellationError` when the process has ended.
    static func run(
        _ line: String,
        environment: [String: String],
        timeout: Double
    ) async throws -> HookEnding {
        try await onThread { checkCancellation in
            let watcher = HookWatcher()
            var process: HookProcess?
            let code = spawn(line, environment: environment, in: watcher?.pid ?? 0) {
                process = HookProcess(pid: $0, group: watcher?.pid ?? $0, watcher: watcher)
            }
            guard let process else {
                watcher?.stop()
                return .notStarted(reason: String(cString: strerror(code)))
            }
            return try process.end(within: timeout, checkCancellation)
        }
    }

    private func end(
        within timeout: Double,
        _ checkCancellation: () throws -> Void
    ) throws -> HookEnding {
        let deadline = ContinuousClock.now + .seconds(timeout)
        var pause = Pause()
        while !hasEnded {
            do { try checkCancellation() } catch {
                stop()
                throw error
            }
            guard ContinuousClock.now < deadline else {
                stop()
                return .tookTooLong(timeout)
            }
            pause.take()
        }
        return reap()
    }

    /// Whether the shell has ended; it is not reaped by this, so that its number stays its own and
    /// a signal to the group reaches nobody else.
    private var hasEnded: Bool {
        var information = siginfo_t()
        let found = waitid(P_PID, id_t(pid), &information, WEXITED | WNOHANG | WNOWAIT)
        return found == 0 && information.si_signo == SIGCHLD
    }

    /// Ends the process and its group.
    private func stop() {
        kill(-group, SIGTERM)
        let end = ContinuousClock.now + Self.grace
        var pause = Pause()
        while !hasEnded, ContinuousClock.now < end { pause.take() }
        kill(-group, SIGKILL)
        _ = reap()
    }

    private func reap() -> HookEnding {
        // Before the group's number can become another's.
        watcher?.stop()
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0, errno == EINTR {}
        // What the macros of wait(2) do, which Swift cannot call.
        return status & 0x7f == 0 ? .exited(status >> 8 & 0xff) : .signalled(status & 0x7f)
    }

    private static func spawn(
        _ line: String,
        environment: [String: String],
        in group: pid_t,
        _ started: (pid_t) -> Void
    ) -> Int32 {
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        let flags = POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK
        posix_spawnattr_setflags(&attributes, Int16(flags))
        posix_spawnattr_setpgroup(&attributes, group)
        // What this process's caller ignores stays ignored otherwise. SIGHUP does: that is `nohup`.
        var signals = sigset_t()
        sigemptyset(&signals)
        posix_spawnattr_setsigmask(&attributes, &signals)
        for signal in [SIGINT, SIGTERM, SIGPIPE] { sigaddset(&signals, signal) }
        posix_spawnattr_setsigdefault(&attributes, &signals)

        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO)

        let variables = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        return withCStrings(["sh", "-c", line]) { arguments in
            withCStrings(variables.map { "\($0.key)=\($0.value)" }) { environment in
                var pid: pid_t = 0
                let code = posix_spawn(
                    &pid,
                    "/bin/sh",
                    &actions,
                    &attributes,
                    arguments,
                    environment
                )
                if code == 0 { started(pid) }
                return code
            }
        }
    }
}

/// Leads a process group, and ends it when this process is gone.
private struct HookWatcher {
    /// Its number, and the group's.
    let pid: pid_t
    private let writeEnd: Int32

    /// Nil where it cannot be started; the hook runs all the same, in a group of its own.
    init?() {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { return nil }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        defer { close(ends[0]) }
        writeEnd = ends[1]

        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // A group of its own: a terminal's signals are for the others.
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP))
        posix_spawnattr_setpgroup(&attributes, 0)
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, ends[0], STDIN_FILENO)
        for stream in [STDOUT_FILENO, STDERR_FILENO] {
            posix_spawn_file_actions_addopen(&actions, stream, "/dev/null", O_WRONLY, 0)
        }

        // Without `--`, which kill(1) of dash takes for a number.
        let script = "trap '' TERM; read -r line; kill -TERM -$$; sleep 5; kill -KILL -$$"
        var pid: pid_t = 0
        let code = withCStrings(["sh", "-c", script]) { arguments in
            posix_spawn(&pid, "/bin/sh", &actions, &attributes, arguments, environ)
        }
        self.pid = pid
        guard code == 0 else {
            close(writeEnd)
            return nil
        }
    }

    func stop() {
        kill(pid, SIGKILL)
        while waitpid(pid, nil, 0) < 0, errno == EINTR {}
        close(writeEnd)
    }
}

private func withCStrings(
    _ strings: [String],
    _ body: ([UnsafeMutablePointer<CChar>?]) -> Int32
) -> Int32 {
    let copies = strings.map { strdup($0) }
    defer { for copy in copies { free(copy) } }
    return body(copies + [nil])
}

/// Waits a little longer each time, 1 to 50 ms.
private struct Pause {
    private var microseconds: useconds_t = 1_000

    mutating func take() {
        usleep(microseconds)
        microseconds = min(microseconds * 2, 50_000)
    }
}
