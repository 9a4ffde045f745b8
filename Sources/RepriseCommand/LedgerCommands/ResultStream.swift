internal import Foundation
internal import Ledgers
internal import Wording

/// Standard output, for results: it ends well when its reader wants no more.
enum ResultStream {
    /// Whether a person is watching.
    static var isTerminal: Bool { isatty(STDOUT_FILENO) == 1 }

    /// The width of the terminal; nil when it is none.
    static var columns: Int? {
        guard isTerminal else { return nil }
        var size = winsize()
        guard ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 1 else { return 80 }
        return Int(size.ws_col)
    }

    /// Writes a text for people, or JSON, and a line end.
    ///
    /// - Parameters:
    ///   - text: The result; what people cannot see in it is escaped.
    ///   - done: What the command has done by then, a sentence; nil when it only looked.
    /// - Throws: ``CommandError`` when the text cannot be written.
    static func print(_ text: String, done: String? = nil) throws {
        try print(exactly: TextForPeople.lines(text), done: done)
    }

    /// The same of a text for programs, as it is.
    static func print(exactly text: String, done: String? = nil) throws {
        // Hooks that are started later must not inherit it.
        let handler = signal(SIGPIPE, SIG_IGN)
        defer { signal(SIGPIPE, handler) }
        do {
            let sink = try ByteSink(to: STDOUT_FILENO) {}
            try Array("\(text)\n".utf8).withUnsafeBytes { try sink.write($0) }
            try sink.finish()
        } catch is ByteSink.Closed {
            // Nobody wants it.
        } catch let failure as ByteSink.Failure {
            throw CommandError.outputFailed(reason: failure.reason, done: done)
        }
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
        ByteSink.ignoreClosedPipes()
        do {
            let sink = try ByteSink(to: STDOUT_FILENO, compression: compression, checking: check)
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
