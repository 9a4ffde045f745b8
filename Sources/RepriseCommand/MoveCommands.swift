internal import ArgumentParser
internal import Logging
internal import ReadModels
internal import Rebuilder
internal import Wording

/// `reprise swap`: puts a generation live that is built already.
struct SwapCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "swap",
        abstract: "Make a generation that is ready the live one.",
        discussion: """
            Takes the newest generation that was built after the live one ('\(ProgramName.current) rebuild \
            --no-swap', or one that was rolled back), waits for the live tables' locks in short \
            tries, and moves all tables of the projection, the views over them and the position in \
            one transaction. Readers are held up for milliseconds. The generation that was live is \
            kept: '\(ProgramName.current) rollback PROJECTION' brings it back.

            Exit status: 0 swapped, 1 a hook says no, 2 usage, 3 there is none or it does not fit, \
            5 database, 7 swapped but a hook after it failed, 75 blocked by other sessions or behind \
            the live tables.
            """
    )

    @Argument(help: "The projection.")
    var projection: String

    @Option(help: ArgumentHelp("Which generation (default: the newest).", valueName: "n"))
    var generation: Int?

    @Flag(help: "Let readers step back to an earlier position of the ledger.")
    var allowOlder = false

    @Flag(help: "Print JSON.")
    var json = false

    @OptionGroup var program: ProgramOptions
    @OptionGroup var comparison: ComparisonOptions
    @OptionGroup var cutOver: CutOverOptions
    @OptionGroup var consent: ConsentOptions
    @OptionGroup var database: DatabaseOptions
    @OptionGroup var general: GeneralOptions

    func run() async throws {
        let settings = try general.settings()
        let known = try Registry.projection(named: projection)
        let database = try database.database(settings)
        let patience = try cutOver.patience(settings, allowsOlder: allowOlder)
        let consent = try consent.consent(settings)
        let hooks = try settings.hooks()
        let acceptsOtherProgram = program.otherProgram
        // Last, because it says more than what is wrong with a setting.
        let control = GenerationControl(
            of: known,
            in: database,
            from: try await comparison.open(settings, for: projection)
        )
        let logger = general.logger
        let result = try await interruptible(projection) {
            try await control.swap(
                to: generation,
                patience: patience,
                consent: consent,
                acceptingOtherProgram: acceptsOtherProgram,
                hooks: hooks,
                notice: { logger.warning("\($0)") }
            )
        }
        result.warnings.forEach { logger.warning("\($0)") }
        let report = MoveReport(projection: projection, kind: .swap, result, patience: patience)
        try ResultStream.print(
            json ? report.json : MoveText(report).text,
            done: "The generation is live."
        )
        try report.endIfInterrupted()
    }
}

/// `reprise rollback`: brings the previous generation back.
struct RollbackCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rollback",
        abstract: "Bring the previous generation back, with its position.",
        discussion: """
            The same move as a swap with the roles exchanged: in one transaction the retired tables \
            become live and the live ones are kept. Readers are held up for milliseconds, and step \
            back to where that generation stood in the ledger; so does the checkpoint, from which a \
            live projector goes on. To undo it, run '\(ProgramName.current) swap PROJECTION --allow-older' or \
            rebuild.

            Exit status: 0 rolled back, 1 a hook says no, 2 usage, 3 there is nothing to go back \
            to, 5 database, 7 rolled back but a hook after it failed, 75 blocked by other sessions.
            """
    )

    @Argument(help: "The projection.")
    var projection: String

    @Option(
        help: ArgumentHelp("Which generation (default: the newest retired one).", valueName: "n")
    )
    var generation: Int?

    @Flag(help: "Print JSON.")
    var json = false

    @OptionGroup var comparison: ComparisonOptions
    @OptionGroup var cutOver: CutOverOptions
    @OptionGroup var consent: ConsentOptions
    @OptionGroup var database: DatabaseOptions
    @OptionGroup var general: GeneralOptions

    func run() async throws {
        let settings = try general.settings()
        let known = try Registry.projection(named: projection)
        let database = try database.database(settings)
        // Going back to an earlier position is what a rollback is.
        let patience = try cutOver.patience(settings, allowsOlder: true)
        let consent = try consent.consent(settings)
        let hooks = try settings.hooks()
        // Last, because it says more than what is wrong with a setting.
        let control = GenerationControl(
            of: known,
            in: database,
            from: try await comparison.open(settings, for: projection)
        )
        let logger = general.logger
        let result = try await interruptible(projection) {
            try await control.rollback(
                to: generation,
                patience: patience,
                consent: consent,
                hooks: hooks,
                notice: { logger.warning("\($0)") }
            )
        }
        result.warnings.forEach { logger.warning("\($0)") }
        let report = MoveReport(projection: projection, kind: .rollback, result, patience: patience)
        try ResultStream.print(
            json ? report.json : MoveText(report).text,
            done: "The generation is live."
        )
        try report.endIfInterrupted()
    }
}

/// Says what an interruption of a move leaves: it can come just after the commit.
private func interruptible<Result>(
    _ projection: String,
    _ move: () async throws -> Result
) async throws -> Result {
    do {
        return try await move()
    } catch is CancellationError {
        throw Interrupted(
            state: "The live tables are one generation or the other, whole.",
            next: "Run '\(ProgramName.current) status \(projection)' to see which."
        )
    }
}

extension MoveReport {
    /// Fails after a signal that came behind COMMIT, when the report is printed: what was to follow did not
    /// run to its end.
    ///
    /// - Throws: ``Interrupted``.
    fileprivate func endIfInterrupted() throws {
        guard Task.isCancelled else { return }
        throw Interrupted(
            state: "Readers see generation \(generation) of '\(projection)', whole.",
            next: "Run '\(ProgramName.current) status \(projection)' to see it."
        )
    }
}

/// The ledger that a generation is to be compared with cannot be opened.
struct LedgerNeeded: Error, CustomStringConvertible {
    let cause: any Error

    var description: String {
        "\(cause)\nA generation is compared with the ledger before it goes live; --without-ledger puts it "
            + "live as it is."
    }
}
