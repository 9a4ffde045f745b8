internal import Dispatch
internal import Foundation
internal import Synchronization

/// A program that a test has started.
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
    /// - Throws: Foundation's error when it cannot be started.
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
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        // The thread that starts it can have these blocked, which a program inherits.
        process.arguments = ["--default-signal=INT,TERM", executable] + arguments
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        let ended = DispatchGroup()
        ended.enter()
        process.terminationHandler = { _ in ended.leave() }
        let child = try start(process, input: input)
        do {
            let result = try await body(child)
            await child.untilEnd(of: ended)
            return (result, child.outcome(of: process))
        } catch {
            child.signal(SIGKILL)
            await child.untilEnd(of: ended)
            throw error
        }
    }

    /// One after the other: a program that is started between the moment in which another one's
    /// pipes are made and its start inherits them, and the other's end is then not noticed before
    /// its own.
    private static let starting = Mutex(())

    private static func start(_ process: Process, input: String) throws -> ChildProcess {
        try starting.withLock { _ in
            let (standardInput, standardOutput, standardError) = (Pipe(), Pipe(), Pipe())
            process.standardInput = standardInput
            process.standardOutput = standardOutput
            process.standardError = standardError
            try process.run()
            feed(input, to: standardInput.fileHandleForWriting)
            return ChildProcess(
                pid: process.processIdentifier,
                output: CollectedStream(standardOutput.fileHandleForReading),
                error: CollectedStream(standardError.fileHandleForReading)
            )
        }
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

    private func untilEnd(of ended: DispatchGroup) async {
        _ = await output.waits(for: nil)
        _ = await error.waits(for: nil)
        await withCheckedContinuation { continuation in
            ended.notify(queue: .global()) { continuation.resume() }
        }
    }

    private func outcome(of process: Process) -> Outcome {
        Outcome(
            status: process.terminationStatus,
            wasKilled: process.terminationReason == .uncaughtSignal,
            standardOutput: output.text,
            standardError: error.text
        )
    }

    private static func feed(_ input: String, to handle: FileHandle) {
        DispatchQueue(label: "child process input").async {
            // A program that does not read its input closes it early; its outcome tells the rest.
            if !input.isEmpty {
                Foundation.signal(SIGPIPE, SIG_IGN)
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
