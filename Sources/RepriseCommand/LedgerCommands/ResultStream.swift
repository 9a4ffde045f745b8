internal import Foundation
internal import Ledgers
internal import ProjectionKit
internal import Synchronization
internal import Wording

/// Standard output, for results: it ends well when its reader wants no more.
enum ResultStream {
    private static let known = Atomic<Int32>(STDOUT_FILENO)
    private static let isBegun = Atomic(false)

    /// Whether anything was printed, or may have been.
    static var hasBegun: Bool { isBegun.load(ordering: .relaxed) }

    /// Where results go.
    private static var descriptor: Int32 { known.load(ordering: .relaxed) }

    private static func begin() -> Int32 {
        isBegun.store(true, ordering: .relaxed)
        CrashReport.answer(on: nil)
        return descriptor
    }

    /// Keeps standard output for results: what others in the process print, such as a reducer, goes to
    /// standard error from now on.
    static func takeStandardOutput() {
        let own = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3)
        guard own >= 0 else { return }
        known.store(own, ordering: .relaxed)
        dup2(STDERR_FILENO, STDOUT_FILENO)
        if wantsJSON { CrashReport.answer(on: own) }
    }

    /// Lets a write to a pipe without a reader fail, where it would end the process: who reads the result
    /// may have enough, and who reads messages may end, and neither is a reason to stop in the middle.
    ///
    /// A handler, and not SIG_IGN, so that programs that this one starts end as they would anywhere.
    static func outliveReaders() { signal(SIGPIPE) { _ in } }

    private static var wantsJSON: Bool { CommandLine.arguments.contains("--json") }

    /// Whether a person is watching.
    static var isTerminal: Bool { isatty(descriptor) == 1 }

    /// The width of the terminal; nil when it is none.
    static var columns: Int? {
        guard isTerminal else { return nil }
        var size = winsize()
        guard ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 1 else { return 80 }
        return Int(size.ws_col)
    }

    /// Writes a text for people, or JSON, and a line end.
    ///
    /// - Parameters:
    ///   - text: The result; what people cannot see in it is escaped.
    ///   - done: What the command has done by then, a sentence; nil when it only looked.
    /// - Throws: ``CommandError`` when the text cannot be written.
    static func print(_ text: String, done: String? = nil) throws {
        let text = wantsJSON ? text : AdvisedCommands.complete(text)
        try print(exactly: TextForPeople.lines(text), done: done)
    }

    /// The same of a text for programs, as it is.
    static func print(exactly text: String, done: String? = nil) throws {
        do {
            let sink = try ByteSink(to: begin()) {}
            try Array("\(text)\n".utf8).withUnsafeBytes { try sink.write($0) }
            try sink.finish()
        } catch is ByteSink.Closed {
            // Nobody wants it.
        } catch let failure as ByteSink.Failure {
            throw CommandError.outputFailed(reason: failure.reason, done: done)
        }
    }

    /// Writes the object by which `--json` tells of a command that failed before it had a result; nothing
    /// without `--json`, or when something was printed.
    ///
    /// Where standard output takes nothing, standard error has said why.
    static func printFailure(_ message: String, status: Int32) {
        guard wantsJSON, !hasBegun else { return }
        let failure = Failure(error: AdvisedCommands.complete(message), exitStatus: status)
        if let text = try? JSONOutput.text(failure) { try? print(exactly: text) }
    }

    /// The names are stable.
    private struct Failure: Encodable {
        let error: String
        let exitStatus: Int32
    }

    /// Lends standard output.
    ///
    /// - Parameters:
    ///   - compression: Nil for plain bytes.
    ///   - check: What throws it ends the writing, also while the reader takes nothing.
    ///   - body: Writes.
    /// - Returns: Whether the reader took all; false when it ended first.
    /// - Throws: ``CommandError``; what `body` throws.
    static func write(
        compression: ByteSink.Compression? = nil,
        checking check: @escaping () throws -> Void,
        _ body: (ByteSink) throws -> Void
    ) throws -> Bool {
        do {
            let sink = try ByteSink(to: begin(), compression: compression, checking: check)
            try body(sink)
            try sink.finish()
            return true
        } catch is ByteSink.Closed {
            return false
        } catch let failure as ByteSink.Failure {
            throw CommandError.outputFailed(reason: failure.reason, done: nil)
        }
    }
}
