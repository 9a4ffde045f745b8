import Foundation
import TestSupport
import Testing

/// Somebody on call who types what the last message says, and nothing else.
///
/// The next command is taken out of what the one before has printed: the end of a line that begins
/// with `Next` or `Or,`, else what stands in quotes in the message that ended it. Of several the
/// first one counts that was not typed yet.
struct Operator {
    /// A scene cannot be played to its end.
    struct Lost: Error, CustomStringConvertible {
        let description: String
    }

    /// What somebody on call has patience for.
    static let mostCommands = 4

    let reprise: RepriseProcess
    /// Programs by the names that messages have for them.
    var programs = ["reprise": "reprise"]
    /// What an operator knows and a message cannot: what its words in capitals stand for.
    var words: [String: String] = [:]
    /// What has to be done by hand, or comes to pass, before the command of that number.
    var before: [Int: @Sendable () async throws -> Void] = [:]
    /// Waits until a follower that was started has done its work; it is stopped then.
    var awaitFollower: @Sendable () async throws -> Void = {}
    /// What was typed so far.
    private(set) var typed: [String] = []
    /// The command whose failure woke the operator; it is not typed again while there is another.
    let first: String?
    private var last: ChildProcess.Outcome

    /// An operator who is woken by what a command printed.
    init(of reprise: RepriseProcess, wokenBy alarm: ChildProcess.Outcome, of first: String?) {
        self.reprise = reprise
        self.first = first
        last = alarm
    }

    /// Types one command after the other until all is well.
    ///
    /// - Throws: ``Lost`` when no command is printed, or another one than the last is needed.
    mutating func repair(until isRepaired: () async throws -> Bool) async throws {
        // A scene in which nothing is wrong would show nothing.
        try #require(try await !isRepaired(), "nothing is wrong when the alarm comes")
        repeat { try await typeNext() } while try await !isRepaired()
        print("repaired by: \(typed.joined(separator: "; "))")
    }

    /// Types the one command that was printed last.
    ///
    /// - Returns: How it ended.
    /// - Throws: ``Lost``.
    @discardableResult
    mutating func typeNext() async throws -> ChildProcess.Outcome {
        guard typed.count < Self.mostCommands else { throw lost("one more command is needed") }
        let advised = Self.advised(by: last, programs: programs.keys.sorted())
        guard
            let command = advised.first(where: { $0 != first && !typed.contains($0) })
                ?? advised.first
        else { throw lost("no command is printed") }
        try await before[typed.count + 1]?()
        typed.append(command)
        last = try await run(command)
        return last
    }

    private static let verbs = [
        "rebuild", "swap", "rollback", "prune", "status", "plan", "follow", "ledger", "replay",
        "remove", "reset", "--version",
    ]

    /// The commands that an output advises, the first one first.
    static func advised(
        by outcome: ChildProcess.Outcome,
        programs: [String]
    ) -> [String] {
        // A program's name alone can be part of another one's: of a session's that is in the way.
        let command = "(?:\(programs.joined(separator: "|"))) (?:\(verbs.joined(separator: "|")))"
        let ends = "(?m)^(?:Next|Or,)[^:\\n]*: (\(command)\\b.*)$"
        let error = outcome.standardError.range(of: "Error: ", options: .backwards)
        let message = error.map { String(outcome.standardError[$0.lowerBound...]) } ?? ""
        return found(ends, in: outcome.standardOutput)
            + found("'(\(command)\\b[^']*)'", in: message)
    }

    private static func found(_ pattern: String, in text: String) -> [String] {
        guard let regex = try? Regex(pattern) else { preconditionFailure("no pattern: \(pattern)") }
        return text.matches(of: regex).compactMap { $0.output[1].substring.map(String.init) }
    }

    private func run(_ command: String) async throws -> ChildProcess.Outcome {
        var parts = command.split(separator: " ").map { words[String($0)] ?? String($0) }
        var named = reprise
        guard let program = programs[parts.removeFirst()] else { throw lost("another program") }
        named.program = program
        guard parts.first == "follow" else { return try await named.run(parts) }
        return try await named.withRunning(parts.joined(separator: " ")) { follower in
            try await awaitFollower()
            follower.signal(SIGTERM)
        }.outcome
    }

    private func lost(_ reason: String) -> Lost {
        Lost(
            description: "\(reason) after \(typed.isEmpty ? ["the alarm"] : typed), which said:\n"
                + "\(last.standardOutput)\n\(last.standardError)"
        )
    }
}
