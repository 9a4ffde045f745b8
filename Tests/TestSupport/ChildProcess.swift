internal import Dispatch
internal import Foundation
internal import Glibc
internal import Synchronization

/// A program that a test has started.
///
/// It is started and waited for by the system's own calls: with Foundation's `Process` some tests of a long run
/// waited for ever, when no program of theirs was left and no thread was at work.
package final class ChildProcess: Sendable {
    /// How a program ended and what it wrote.
    package struct Outcome: Sendable {
        /// The exit status; for a program that a signal ended, the signal's number.
        package let status: Int32
        /// Whether a signal ended it.
        package let wasKilled: Bool
        /// What it wrote to standard output.
        package let standardOutput: String
        /// What it wrote to standard error.
        package let standardError: String
    }

    /// A stream that a program writes to.
    package enum Stream: Sendable {
        /// Standard output.
        case output
        /// Standard error.
        case error
    }

    /// The program ended, or never wrote what a test was waiting for.
    package struct NotWritten: Error, CustomStringConvertible {
        /// What was expected and what came.
        package let description: String
    }

    /// The process's number.
    package let pid: Int32
    private let output: CollectedStream
    private let error: CollectedStream

    private init(pid: Int32, output: CollectedStream, error: CollectedStream) {
        self.pid = pid
        self.output = output
        self.error = error
    }

    /// Runs a program to its end.
    ///
    /// - Parameters:
    ///   - executable: The program's path, or its name to be looked up in `PATH`.
    ///   - arguments: Its arguments.
    ///   - environment: Variables that are laid over this process's own.
    ///   - input: What it reads from standard input.
    /// - Returns: How it ended.
    /// - Throws: The system's error when it cannot be started.
    package static func run(
        _ executable: String,
        _ arguments: [String] = [],
        environment: [String: String] = [:],
        input: String = ""
    ) async throws -> Outcome {
        try await withRunning(executable, arguments, environment: environment, input: input) { _ in
        }.outcome
    }

    /// Starts a program, runs `body`, and waits for the program's end.
    ///
    /// When `body` throws the program is killed.
    package static func withRunning<R>(
        _ executable: String,
        _ arguments: [String] = [],
        environment: [String: String] = [:],
        input: String = "",
        isolation: isolated (any Actor)? = #isolation,
        _ body: (ChildProcess) async throws -> R
    ) async throws -> (result: R, outcome: Outcome) {
        let child = try start(
            // The thread that starts it can have these blocked, which a program inherits.
            ["/usr/bin/env", "--default-signal=INT,TERM", executable] + arguments,
            environment: ProcessInfo.processInfo.environment.merging(environment) { $1 },
            input: input
        )
        do {
            let result = try await body(child)
            return (result, await child.untilEnd())
        } catch {
            child.signal(SIGKILL)
            _ = await child.untilEnd()
            throw error
        }
    }

    /// One after the other: a program that is started between the moment in which another one's
    /// pipes are made and closed to it inherits them, and the other's end is then not noticed before
    /// its own.
    private static let starting = Mutex(())

    /// Starts a program whose three streams are pipes.
    private static func start(
        _ command: [String],
        environment: [String: String],
        input: String
    ) throws -> ChildProcess {
        try starting.withLock { _ in
            try startAlone(command, environment: environment, input: input)
        }
    }

    private static func startAlone(
        _ command: [String],
        environment: [String: String],
        input: String
    ) throws -> ChildProcess {
        let (standardInput, standardOutput, standardError) = try (pipe(), pipe(), pipe())
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, standardInput.read, 0)
        posix_spawn_file_actions_adddup2(&actions, standardOutput.write, 1)
        posix_spawn_file_actions_adddup2(&actions, standardError.write, 2)
        // A program that is being copied by another test cannot run while somebody can write to it.
        for descriptor in inheritable() { posix_spawn_file_actions_addclose(&actions, descriptor) }
        var pid: pid_t = 0
        let code = withCStrings(command) { arguments in
            withCStrings(environment.map { "\($0.key)=\($0.value)" }) { variables in
                posix_spawn(&pid, command[0], &actions, nil, arguments, variables)
            }
        }
        for end in [standardInput.read, standardOutput.write, standardError.write] { close(end) }
        guard code == 0 else {
            for end in [standardInput.write, standardOutput.read, standardError.read] { close(end) }
            throw POSIXError(POSIXErrorCode(rawValue: code) ?? .EIO)
        }
        feed(input, to: FileHandle(fileDescriptor: standardInput.write, closeOnDealloc: true))
        return ChildProcess(
            pid: pid,
            output: CollectedStream(
                FileHandle(fileDescriptor: standardOutput.read, closeOnDealloc: true)
            ),
            error: CollectedStream(
                FileHandle(fileDescriptor: standardError.read, closeOnDealloc: true)
            )
        )
    }

    /// Descriptors of this process, besides its streams, that a program would inherit.
    private static func inheritable() -> [Int32] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")) ?? []
        return names.compactMap { Int32($0) }.filter { descriptor in
            let flags = fcntl(descriptor, F_GETFD)
            return descriptor > 2 && flags >= 0 && flags & FD_CLOEXEC == 0
        }
    }

    /// One that no other program inherits.
    private static func pipe() throws -> (read: Int32, write: Int32) {
        var ends: [Int32] = [0, 0]
        guard Glibc.pipe(&ends) == 0 else {
            throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO)
        }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        return (ends[0], ends[1])
    }

    private static func withCStrings<R>(
        _ strings: [String],
        _ body: ([UnsafeMutablePointer<CChar>?]) -> R
    ) -> R {
        let copies = strings.map { strdup($0) }
        defer { copies.forEach { free($0) } }
        return body(copies + [nil])
    }

    /// Sends a signal.
    package func signal(_ number: Int32) {
        kill(pid, number)
    }

    /// Stops it, and waits until each of its threads stands still: the one that takes the signal
    /// stops the others.
    package func stop() async {
        signal(SIGSTOP)
        while !isStopped { await Task.yield() }
    }

    private var isStopped: Bool {
        let folder = "/proc/\(pid)/task"
        let threads = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        return threads.allSatisfy { thread in
            // A thread that has ended meanwhile has no state.
            guard
                let stat = try? String(contentsOfFile: "\(folder)/\(thread)/stat", encoding: .utf8)
            else { return true }
            // proc(5): the state follows the name, which is in parentheses.
            return stat.split(separator: ")").last?.hasPrefix(" T") == true
        }
    }

    /// Waits until the program has written `text`.
    ///
    /// - Throws: ``NotWritten`` when the stream ends without it.
    package func waitForText(_ text: String, on stream: Stream = .error) async throws {
        let collected = stream == .output ? output : error
        guard await collected.waits(for: text) else {
            throw NotWritten(
                description: "expected “\(text)”, but the stream ended with: \(collected.text)"
            )
        }
    }

    /// Waits for the ends of its streams, and for its own.
    private func untilEnd() async -> Outcome {
        _ = await output.waits(for: nil)
        _ = await error.waits(for: nil)
        let pid = pid
        let status: Int32 = await withCheckedContinuation { continuation in
            // It may have closed its streams and be at work still: this thread waits.
            DispatchQueue(label: "child process end").async {
                var status: Int32 = 0
                while waitpid(pid, &status, 0) < 0, errno == EINTR {}
                continuation.resume(returning: status)
            }
        }
        // wait(2): the last seven bits are the signal that ended it, the next eight its exit status.
        let ending = status & 0x7f
        return Outcome(
            status: ending == 0 ? (status >> 8) & 0xff : ending,
            wasKilled: ending != 0,
            standardOutput: output.text,
            standardError: error.text
        )
    }

    private static func feed(_ input: String, to handle: FileHandle) {
        DispatchQueue(label: "child process input").async {
            // A program that does not read its input closes it early; its outcome tells the rest.
            if !input.isEmpty {
                Glibc.signal(SIGPIPE, SIG_IGN)
                try? handle.write(contentsOf: Data(input.utf8))
            }
            try? handle.close()
        }
    }
}

/// Everything that was read from a pipe so far, read by a queue of its own to the pipe's end.
private final class CollectedStream: Sendable {
    private struct State {
        var bytes: [UInt8] = []
        var hasEnded = false
        var waiters: [(text: String?, continuation: CheckedContinuation<Bool, Never>)] = []
    }

    private let state = Mutex(State())

    init(_ handle: FileHandle) {
        DispatchQueue(label: "child process output").async { [self] in
            while true {
                let data = handle.availableData
                guard !data.isEmpty else { break }
                take { $0.bytes += data }
            }
            // Thousands of tests in one process would keep thousands of descriptors open.
            try? handle.close()
            take { $0.hasEnded = true }
        }
    }

    var text: String { state.withLock { String(decoding: $0.bytes, as: UTF8.self) } }

    /// Waits for a text, or for the stream's end.
    ///
    /// - Returns: Whether the text came.
    func waits(for text: String?) async -> Bool {
        await withCheckedContinuation { continuation in
            take { $0.waiters.append((text, continuation)) }
        }
    }

    private func take(_ change: @Sendable (inout State) -> Void) {
        let answers = state.withLock { state in
            change(&state)
            let all = String(decoding: state.bytes, as: UTF8.self)
            let hasEnded = state.hasEnded
            let answers = state.waiters.map { waiter in
                let isThere = waiter.text.map { all.contains($0) } ?? false
                return (waiter: waiter, isThere: isThere, isDue: isThere || hasEnded)
            }
            state.waiters = answers.filter { !$0.isDue }.map(\.waiter)
            return answers.filter(\.isDue)
        }
        for answer in answers { answer.waiter.continuation.resume(returning: answer.isThere) }
    }
}
