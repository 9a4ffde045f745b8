internal import Foundation
internal import Glibc
internal import Synchronization
internal import Wording

/// Standard error: messages, warnings and progress.
///
/// Results go to standard output instead. At most one line of progress stands at the bottom of a
/// terminal; whatever else is written erases it first. Safe to use from any thread.
final class Console: Sendable {
    /// The process's.
    static let standardError = Console()

    /// Whether a person is watching, so that a line can be redrawn.
    let isTerminal: Bool
    /// Whether colours are wanted (https://no-color.org).
    let usesColour: Bool
    /// The length of the progress line that is on the screen.
    private let drawn = Mutex(0)

    private init() {
        let environment = ProcessInfo.processInfo.environment
        isTerminal = isatty(STDERR_FILENO) == 1 && environment["TERM"] != "dumb"
        usesColour = isTerminal && (environment["NO_COLOR"] ?? "").isEmpty
    }

    /// Writes a line, or a message of several.
    func write(line: String) { write("", line) }

    /// Writes the message that ends the command.
    func write(error message: String) {
        write(usesColour ? "\u{1B}[1;31mError:\u{1B}[0m " : "Error: ", message)
    }

    private func write(_ label: String, _ message: String) {
        drawn.withLock { drawn in
            let text = TextForPeople.lines(AdvisedCommands.complete(message))
            put(Self.blank(drawn) + label + text + "\n")
            drawn = 0
        }
    }

    /// Shows progress: redrawn in place on a terminal, a line of its own elsewhere.
    func show(progress text: String) {
        guard isTerminal else { return write(line: text) }
        drawn.withLock { drawn in
            let line = String(TextForPeople.line(text).prefix(Self.columns - 1))
            put(Self.blank(drawn) + line)
            drawn = line.count
        }
    }

    /// Takes the progress line away.
    func clearProgress() {
        drawn.withLock { drawn in
            put(Self.blank(drawn))
            drawn = 0
        }
    }

    private static func blank(_ length: Int) -> String {
        length == 0 ? "" : "\r" + String(repeating: " ", count: length) + "\r"
    }

    /// The width of the terminal; 80 where it does not say.
    static var columns: Int {
        var size = winsize()
        guard ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 1 else { return 80 }
        return Int(size.ws_col)
    }

    /// Whatever happens to standard error, the command continues.
    private func put(_ text: String) {
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes {
                Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count)
            }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { return }
            bytes = bytes.dropFirst(count)
        }
    }
}
