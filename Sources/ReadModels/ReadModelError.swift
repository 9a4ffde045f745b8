import Wording

/// Why a generation could not be built, checked, moved or dropped.
///
/// Each message says, in this order: what happened and where; what readers see now; what to type
/// next. Match on the case, never on the text.
package enum ReadModelError: Error, Equatable, Sendable {
    /// The server cannot be reached, or the connection was lost.
    case unreachable(reason: String)
    /// The connection was lost when a new generation was built and not live yet.
    case lostWhenBuilt(projection: String, reason: String)
    /// The server does not let the role in: wrong password, database not there.
    case refused(reason: String)
    /// The server cannot be worked with: it is behind a pooler, or too old.
    case unsuitableServer(reason: String, remedy: String)
    /// This process can open no further file.
    case descriptorsExhausted(reason: String)
    /// The role or the database may have fewer connections than the command needs for itself.
    case connectionLimit(reason: String, remedy: String)
    /// The role lacks a right.
    case rightMissing(reason: String)
    /// The server answers a statement with an error.
    case server(doing: String, reason: String)
    /// The server's disk is full; the projection is nil where the error is not one of a projection, and
    /// `built` says what became of the new tables.
    case diskFull(projection: String?, doing: String, reason: String, built: String?)
    /// Another run works on the projection.
    case runBusy(projection: String, holder: String)
    /// Another run holds the projection's lock, is not heard of any more, and cannot be ended.
    case runStale(projection: String, holder: String, silence: Int, backendPID: Int32)
    /// Another run took this one for hung, and ended it.
    case endedByAnother(projection: String, run: Int64, by: Int64)
    /// Another process keeps the projection's live tables current.
    case followerBusy(projection: String, holder: String)
    /// Another process follows, is not heard of any more, and cannot be ended.
    case followerStale(projection: String, holder: String, silence: Int, backendPID: Int32)
    /// The plan refuses; each line names an object and says why.
    case refusedByPlan(projection: String, reasons: [String])
    /// A value does not fit its column.
    case rowRejected(RejectedRow)
    /// A table does not hold the rows that were folded into it before.
    case otherRows(projection: String, table: String, reason: String)
    /// The new generation does not pass a check.
    case checkFailed(projection: String, generation: Int, reasons: [String])
    /// New rows that were to replace the live ones in place do not pass a check; nothing of them is kept.
    case reloadFailsCheck(projection: String, reasons: [String])
    /// Something stands in the way past the patience: sessions that hold locks on the live tables, or what
    /// `--blockers` ends in no way.
    case cutOverBlocked(
        projection: String,
        attempts: Int,
        blockers: [String],
        haveSessions: Bool,
        readyGeneration: Int?
    )
    /// The cut-over takes longer than readers may be held up.
    case overBudget(
        projection: String,
        attempts: Int,
        milliseconds: Int,
        budget: Int,
        readyGeneration: Int?
    )
    /// The cut-over has to take more locks than it can in the time that its outage budget leaves for
    /// them.
    case tooMuchToLock(
        projection: String,
        attempts: Int,
        locks: Int,
        got: Int,
        milliseconds: Int,
        readyGeneration: Int?
    )
    /// The new generation stands before the live one in the ledger.
    case behindLive(projection: String, generation: Int, position: String, livePosition: String)
    /// The catalogue is not what the bookkeeping says.
    case changedMeanwhile(projection: String, reason: String)
    /// There is no generation to move there.
    case nothingToMove(projection: String, reason: String)
    /// Another program made the rows that were to be continued.
    case otherProgram(OtherProgram)
    /// The connection broke during COMMIT and the server cannot be asked how it ended.
    case outcomeUnknown(projection: String, runID: Int64)
    /// What a position template reads is no position.
    case positionUnreadable(projection: String, reason: String)
    /// A generation's position does not fit the format of the projection's template.
    case positionMisfit(
        projection: String,
        generation: Int,
        position: String,
        format: PositionFormat
    )
    /// Nobody has said where a generation stands, so that its projector cannot be told.
    case positionUnknown(projection: String, generation: Int)
    /// A position template changed other than one row.
    case positionUnwritten(projection: String, rows: String)
    /// The bookkeeping was written by a newer version.
    case newerBookkeeping(found: Int, supported: Int)
    /// Another transaction is making the schema `reprise`, or keeps it from being changed.
    case bookkeepingBlocked(blockers: [String])
    /// A lock was not to be had in time.
    case lockedOut(reason: String, blockers: [String])
    /// Others can change the schema `reprise`, or have their code run by those who use it.
    case untrustedBookkeeping(reasons: [String])
    /// The schema `reprise` was made by a role that this one cannot act as.
    case bookkeepingOfAnother(owner: String, role: String)
    /// Event triggers would run code of others with this role's rights.
    case untrustedEventTriggers(reasons: [String])
}

extension ReadModelError {
    /// Whether a follower has ended because another program's generation had gone live.
    ///
    /// - Parameters:
    ///   - error: What was recorded of it.
    ///   - projection: The projection.
    ///   - generation: The generation.
    /// - Returns: Whether it has.
    package static func isRefusal(
        _ error: String,
        toFollow projection: String,
        generation: Int
    ) -> Bool {
        let other = OtherProgram(projection: projection, generation: generation, command: "follow")
        // What follows names the program that wrote it.
        return error.split(separator: "\n").first == "\(other.fact)"
    }
}

extension ReadModelError: CustomStringConvertible {
    /// The three-part message that is printed on standard error.
    package var description: String {
        let (what, readers, next) = parts
        return TextForPeople.lines("\(what)\n\(readers)\n\(next)")
    }

    private static let unchanged = "The live tables are unchanged."

    private var parts: (what: String, readers: String, next: String) {
        switch self {
        case .unreachable(let reason):
            (
                reason, Self.unchanged,
                "Check that the server is up, and DATABASE_URL or PGHOST, PGPORT, PGDATABASE; then run "
                    + "\(Self.command) again."
            )
        case .lostWhenBuilt(let projection, let reason):
            (
                reason, Self.unchanged,
                "The new generation is built: when the server is up, run '\(ProgramName.current) rebuild "
                    + "\(projection) --resume', which catches up and puts it live."
            )
        case .refused(let reason):
            (
                reason, Self.unchanged,
                "Check the role, its password (PGPASSWORD, ~/.pgpass) and the name of the database."
            )
        case .unsuitableServer(let reason, let remedy), .connectionLimit(let reason, let remedy):
            (reason, Self.unchanged, remedy)
        case .descriptorsExhausted(let reason):
            (
                reason, Self.unchanged,
                "Raise the limit on open files ('ulimit -n'; of the whole machine fs.file-max), then run "
                    + "the same command again."
            )
        case .rightMissing(let reason):
            (
                reason, Self.unchanged,
                "Grant the role what the server names; docs/operating.md has a script that grants all "
                    + "it needs."
            )
        case .server(let doing, let reason):
            (
                "PostgreSQL refused while \(TextForPeople.line(doing)): \(reason)", Self.unchanged,
                "Fix the cause, then run \(Self.command) again; what this run left behind is removed then."
            )
        case .diskFull(let projection, let doing, let reason, let built):
            (
                "PostgreSQL refused while \(TextForPeople.line(doing)): \(reason)"
                    + (built.map { "\n\($0)" } ?? ""),
                Self.unchanged,
                "Free space on the server's disk: '\(ProgramName.current) prune "
                    + "\(projection ?? "PROJECTION") --keep 0' drops the generations that are kept "
                    + "for a rollback. Then run \(Self.command) again."
            )
        case .runBusy(let projection, let holder):
            (
                "Another run works on '\(projection)': \(TextForPeople.line(holder)).",
                Self.unchanged,
                "Wait for it ('\(ProgramName.current) status \(projection)' shows it), or stop that process."
            )
        case .runStale(let projection, let holder, let silence, let backendPID):
            (
                "Another run works on '\(projection)': \(TextForPeople.line(holder)). It was not heard of for \(silence) s, "
                    + "and its session could not be ended.",
                Self.unchanged,
                "Where its process hangs, let one who may end sessions type SELECT "
                    + "pg_terminate_backend(\(backendPID)), then run \(Self.command) again."
            )
        case .endedByAnother(let projection, let run, let other):
            (
                "Run \(run) of '\(projection)' was ended by run \(other), because it had not been heard "
                    + "of for a minute.",
                "It has changed nothing that readers see; run \(other) does its work.",
                "Nothing to do: '\(ProgramName.current) status \(projection)' shows how run \(other) ended."
            )
        case .followerBusy(let projection, let holder):
            (
                "'\(projection)' is followed already: by \(TextForPeople.line(holder)).",
                "The live tables are kept current by that process.",
                "Stop it first, if this one is to do it ('\(ProgramName.current) status \(projection)' shows it)."
            )
        case .followerStale(let projection, let holder, let silence, let backendPID):
            (
                "'\(projection)' is followed already: by \(TextForPeople.line(holder)). It was not "
                    + "heard of for \(silence) s, and its session could not be ended.",
                "The live tables are as it left them.",
                "Where its process hangs, let one who may end sessions type SELECT "
                    + "pg_terminate_backend(\(backendPID)), then run \(Self.command) again."
            )
        case .refusedByPlan(let projection, let reasons):
            (
                "The plan refuses '\(projection)':\n" + Self.list(reasons), Self.unchanged,
                "Fix these, then run '\(ProgramName.current) plan \(projection)'."
            )
        case .rowRejected(let row):
            (
                "A row of '\(row.table)' cannot be stored: \(row.reason)"
                    + (row.event.map { "\nIts last change came with \($0)." } ?? ""),
                Self.unchanged,
                "Fix the reducer, the table's definition, or what was made on the table by hand, then "
                    + "run \(Self.command) again."
            )
        case .otherRows(let projection, let table, let reason):
            (
                "\(TextForPeople.line(table)) does not hold the rows that the events give: "
                    + "\(TextForPeople.line(reason)). Something besides this command changes them: "
                    + "another writer, a hand, or a trigger.",
                "What was written before stays; nothing of this batch was.",
                "Find out who writes to the table, then run '\(ProgramName.current) rebuild \(projection)': it makes "
                    + "all rows from the events."
            )
        default: swapParts
        }
    }

    private var swapParts: (what: String, readers: String, next: String) {
        switch self {
        case .checkFailed(let projection, let generation, let reasons):
            (
                "Generation \(generation) of '\(projection)' does not pass:\n" + Self.list(reasons),
                Self.unchanged,
                "Look at it in its home schema and fix the cause; then run "
                    + Self.rebuild(projection, allowing: reasons)
            )
        case .reloadFailsCheck(let projection, let reasons):
            (
                "The new rows of '\(projection)' do not pass:\n" + Self.list(reasons),
                Self.unchanged,
                "A truncate keeps nothing of them. To look at them, run '\(ProgramName.current) rebuild \(projection) "
                    + "--no-swap', which leaves them in a schema of their own. Fix the cause; then run "
                    + Self.rebuild(projection, "--strategy truncate", allowing: reasons)
            )
        case .cutOverBlocked(
            let projection,
            let attempts,
            let blockers,
            let haveSessions,
            let generation
        ):
            (
                "The cut-over of '\(projection)' gave up after \(attempts) attempts, blocked by:\n"
                    + Self.list(blockers),
                Self.unchanged,
                Self.pastBlockers(of: projection, haveSessions: haveSessions, ready: generation)
            )
        case .overBudget(
            let projection,
            let attempts,
            let milliseconds,
            let budget,
            let generation
        ):
            (
                "The cut-over of '\(projection)' takes longer than its outage budget: "
                    + "\(milliseconds) ms in the last of \(attempts) attempts, which was undone; the "
                    + "budget is \(budget) ms.",
                Self.unchanged,
                generation.map {
                    "Generation \($0) is ready: at a quieter time, or with more --outage-budget, run "
                        + "'\(ProgramName.current) rebuild \(projection) --resume', which catches up and puts it live."
                } ?? "At a quieter time, or with more --outage-budget, run \(Self.command) again."
            )
        case .tooMuchToLock(
            let projection,
            let attempts,
            let locks,
            let got,
            let milliseconds,
            let generation
        ):
            (
                "The cut-over of '\(projection)' locks the live tables and every view over them, "
                    + "\(locks) locks. In \(milliseconds) ms, which its outage budget leaves for that, "
                    + "the last of \(attempts) attempts got \(got).",
                Self.unchanged,
                "Allow more with --outage-budget, or drop views that nobody needs; "
                    + (generation.map {
                        "generation \($0) is ready, and '\(ProgramName.current) rebuild \(projection) --resume' "
                            + "catches up and puts it live."
                    } ?? "then run \(Self.command) again.")
            )
        case .behindLive(let projection, let generation, let position, let livePosition):
            (
                "Generation \(generation) of '\(projection)' stands at \(TextForPeople.line(position)), before the live "
                    + "tables at \(TextForPeople.line(livePosition)): readers would step back in time.",
                Self.unchanged,
                "Run '\(ProgramName.current) rebuild \(projection) --resume' to catch up, or allow it with "
                    + "--allow-older."
            )
        case .changedMeanwhile(let projection, let reason):
            (
                "'\(projection)' is not what the bookkeeping says: \(TextForPeople.line(reason))",
                Self.unchanged,
                "Run '\(ProgramName.current) plan \(projection)' to see how things stand."
            )
        case .nothingToMove(let projection, let reason):
            (
                TextForPeople.line(reason), Self.unchanged,
                "Run '\(ProgramName.current) status \(projection)' to see its generations."
            )
        case .otherProgram(let other):
            (
                other.fact, Self.unchanged,
                "Use the program that made it; or run '\(ProgramName.current) rebuild \(other.projection)' with this "
                    + "one. If both fold alike, add --other-program."
            )
        case .outcomeUnknown(let projection, let runID):
            (
                "The connection broke while '\(projection)' was being committed (run \(runID)) and "
                    + "the server cannot be asked how it ended.",
                "The live tables are one generation or the other, whole.",
                "When the server is back, run '\(ProgramName.current) status \(projection)': it tells which."
            )
        case .untrustedBookkeeping(let reasons):
            (
                "The schema 'reprise' is not used, because others than this role and superusers can "
                    + "change what it does:\n" + Self.list(reasons),
                Self.unchanged,
                "Take these away (ALTER … OWNER TO, REVOKE, DROP TRIGGER), or run the command as the "
                    + "schema's owner. A schema that Reprise did not make is to be dropped."
            )
        case .bookkeepingOfAnother(let owner, let role):
            (
                "The schema 'reprise' belongs to the role \(TextForPeople.line(owner)), and the role "
                    + "\(TextForPeople.line(role)) cannot act as it.",
                Self.unchanged,
                "Run the command as the role \(TextForPeople.line(owner)). Or give what Reprise made "
                    + "to the other one: docs/operating.md, \"Another role\", has the script."
            )
        case .untrustedEventTriggers(let reasons):
            (
                "Event triggers would run code of other roles with the rights of this one:\n"
                    + Self.list(reasons),
                Self.unchanged,
                "Give the function to a superuser (ALTER FUNCTION … OWNER TO), who reads it first, or "
                    + "type ALTER EVENT TRIGGER … DISABLE."
            )
        case .newerBookkeeping(let found, let supported):
            (
                "The schema 'reprise' is of version \(found); this command knows \(supported).",
                Self.unchanged, "Run the newer version of the command."
            )
        case .bookkeepingBlocked(let blockers):
            (
                "The schema 'reprise' could not be made, or brought up to date, within 10 s: another "
                    + "transaction makes one of that name, or uses it."
                    + (blockers.isEmpty
                        ? " The server does not tell whose it is."
                        : " These have written here and not ended:\n" + Self.list(blockers)),
                Self.unchanged, "When that transaction has ended, run \(Self.command) again."
            )
        case .lockedOut(let reason, let blockers):
            (
                TextForPeople.line(reason)
                    + (blockers.isEmpty
                        ? "" : "\nThese hold locks that others wait for:\n" + Self.list(blockers)),
                Self.unchanged,
                "When those who hold the lock have ended, run \(Self.command) again."
            )
        default: positionParts
        }
    }

    private var positionParts: (what: String, readers: String, next: String) {
        switch self {
        case .positionUnreadable(let projection, let reason):
            (
                "The position template of '\(projection)' does not work: \(TextForPeople.line(reason))",
                Self.unchanged,
                "Fix it in the settings file (docs/position-templates.md), then run '\(ProgramName.current) plan "
                    + "\(projection)'."
            )
        case .positionMisfit(let projection, let generation, let position, let format):
            (
                "Generation \(generation) of '\(projection)' stands at \(TextForPeople.line(position)), which the format "
                    + "'\(format.rawValue)' of its position template cannot hold.",
                Self.unchanged,
                "Give the template another format ('text' holds every position), or take it out of "
                    + "the settings file; docs/position-templates.md says what each can hold."
            )
        case .positionUnknown(let projection, let generation):
            (
                "Nobody has said where generation \(generation) of '\(projection)' stands in the ledger, "
                    + "so its projector cannot be told where to go on.",
                Self.unchanged,
                "Run '\(ProgramName.current) rebuild \(projection)' instead; or take the position template out of the "
                    + "settings file for this one command, and set the projector back by hand."
            )
        case .positionUnwritten(let projection, let rows):
            (
                "The position template of '\(projection)' changed \(TextForPeople.line(rows)) rows, and a projector has one.",
                Self.unchanged,
                "Look at its name and its WHERE in the settings file. A projector that never ran may "
                    + "have no row yet: insert it, then run \(Self.command) again."
            )
        default: preconditionFailure("a case without a message")
        }
    }

    private static var command: String { TypedCommand.shown(or: "the command") }

    /// The rebuild that follows a check's no: one option for each reason that can be allowed.
    private static func rebuild(
        _ projection: String,
        _ words: String...,
        allowing reasons: [String]
    ) -> String {
        let rebuild = (["\(ProgramName.current) rebuild \(projection)"] + words)
            .joined(separator: " ")
        let options = [
            ("(--allow-empty)", "--allow-empty"), ("(--max-shrink)", "--max-shrink 100"),
        ].filter { mark, _ in reasons.contains { $0.contains(mark) } }.map(\.1)
        guard !options.isEmpty else { return "'\(rebuild)'." }
        return "'\(rebuild)'. Where the new rows are right, run '\(rebuild) "
            + "\(options.joined(separator: " "))'."
    }

    /// What to do about what blocks a cut-over, and about sessions that never end.
    private static func pastBlockers(
        of projection: String,
        haveSessions: Bool,
        ready generation: Int?
    ) -> String {
        let option = "--blockers terminate --blockers-after 1"
        let endsThem = haveSessions && !TypedCommand.has("--blockers")
        let end = haveSessions ? "those sessions end" : "that is out of the way"
        guard let generation else {
            let command = endsThem ? TypedCommand.adding(option) : nil
            return "When \(end), run \(Self.command) again"
                + (command.map { "; \($0) ends them." } ?? ".")
        }
        let resume = "\(ProgramName.current) rebuild \(projection) --resume"
        return "Generation \(generation) is ready: when \(end), run '\(resume)', which "
            + "catches up and puts it live"
            + (endsThem ? "; '\(resume) \(option)' ends them." : ".")
    }

    private static func list(_ lines: [String]) -> String {
        lines.map { "  - \(TextForPeople.line($0))" }.joined(separator: "\n")
    }
}
