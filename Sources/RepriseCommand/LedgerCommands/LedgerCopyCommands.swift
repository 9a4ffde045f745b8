internal import ArgumentParser
internal import LedgerKit
internal import Ledgers
internal import ProjectionKit
internal import Rebuilder
internal import Wording

/// `reprise ledger backup`.
struct LedgerBackupCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "backup",
        abstract: "Copy a ledger while it is written, and verify the copy.",
        discussion: """
            The copy is the ledger as it is at one moment: one file, with the same identity and \
            positions, that every command takes as a ledger. Each event of it is held against its \
            checksum before it gets its name. It comes into being whole or not at all, and only its \
            owner can read it. Writers go on.

            To restore one, stop what appends, and put the copy in the ledger's place; no file with \
            '-wal' or '-shm' behind its name may be left from the old one.

            Exit status: 0 done, 2 usage, 4 there is a file already, or the ledger is damaged or \
            cannot be read, or the copy not written, 129, 130 or 143 interrupted.
            """
    )

    @Argument(help: "Where the copy is to be; there must be nothing.")
    var copy: String

    @Flag(help: "Save what the file has although its log is lost.")
    var withoutLog = false

    @OptionGroup var ledger: LedgerOptions
    @OptionGroup var general: GeneralOptions

    func run() async throws {
        let path = try ledger.path(general.settings())
        let (copy, withoutLog) = (copy, withoutLog)
        let (copying, verifying) = (LedgerMeter(doing: "copying"), LedgerMeter(doing: "verifying"))
        let backup = try await uncancelled(nothingAt: copy) {
            try await withProgress({ verifying.events > 0 ? verifying.line : copying.line }) {
                try await onThread { check in
                    try LedgerBackup.make(of: path, at: copy, withoutLog: withoutLog) { step in
                        switch step {
                        case .copying(let share): copying.advance(to: 0, share: share)
                        case .verifying(let events): verifying.advance(to: events)
                        }
                        try check()
                    }
                }
            }
        }
        try ResultStream.print(
            """
            Copied \(Figures.count(backup.events, "event")) of \(TextForPeople.path(path)) to \(TextForPeople.path(copy)), all sound: \
            \(Figures.mebibytes(backup.bytes)), \(Figures.seconds(copying.seconds)).
            Next, where it takes the place of a lost ledger: \(ProgramName.current) rebuild PROJECTION \
            --ledger \(TextForPeople.pathArgument(copy))
            """,
            done: "The copy is made."
        )
    }
}

/// `reprise ledger upgrade`.
struct LedgerUpgradeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "upgrade",
        abstract: "Copy a ledger of format 1 into a new one of the newest format.",
        discussion: """
            The events come in the order in which format 1 was read, by bucket and id, and stay in \
            it from then on. Times, ids and the bucket width are kept. Where two events had one id, \
            in two buckets, the first one keeps it; the other one has it in its metadata, as \
            format1_id.

            The old file is only read. Stop the programs that append to it first. The new one comes \
            into being whole and verified, or not at all; it has an identity of its own, so that \
            read models are rebuilt from it once.

            Exit status: 0 done, 2 usage, 4 there is a file already, or the old ledger cannot be \
            read, or the new one not written, 129, 130 or 143 interrupted.
            """
    )

    @Argument(help: "The ledger of format 1.")
    var old: String

    @Argument(help: "Where the new one is to be; there must be nothing.")
    var new: String

    @OptionGroup var general: GeneralOptions

    func run() async throws {
        let (old, new) = (old, new)
        let copying = LedgerMeter(doing: "upgrading")
        let verifying = LedgerMeter(doing: "verifying")
        let upgrade = try await uncancelled(nothingAt: new) {
            try await withProgress({ verifying.events > 0 ? verifying.line : copying.line }) {
                try await onThread { check in
                    try LedgerUpgrade.run(from: old, to: new) { step in
                        switch step {
                        case .copying(let events): copying.advance(to: events)
                        case .verifying(let events): verifying.advance(to: events)
                        }
                        try check()
                    }
                }
            }
        }
        let repeated =
            upgrade.repeatedIDs == 0
            ? ""
            : "; the ids of \(Figures.count(upgrade.repeatedIDs)) stood at an earlier event, too, and "
                + "are in their metadata now"
        try ResultStream.print(
            """
            Copied \(Figures.count(upgrade.events, "event")) of \(TextForPeople.path(old)) to \(TextForPeople.path(new)), with buckets of \
            \(Figures.width(milliseconds: upgrade.bucketWidth)), all sound\(repeated): \
            \(Figures.seconds(copying.seconds)), \
            \(Figures.rate(upgrade.events, in: copying.seconds)).
            Next: \(ProgramName.current) ledger info --ledger \(TextForPeople.pathArgument(new))
            """,
            done: "The copy is made."
        )
    }
}

/// Says what an interruption leaves.
private func uncancelled<Result>(
    nothingAt path: String,
    _ body: () async throws -> Result
) async throws -> Result {
    do {
        return try await body()
    } catch is CancellationError {
        throw Interrupted(
            state: "There is nothing at \(TextForPeople.path(path)); the ledger was not changed.",
            next: "Run \(TypedCommand.shown(or: "the same command")) again."
        )
    }
}
