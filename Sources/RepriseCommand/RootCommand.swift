internal import ArgumentParser
internal import Wording

/// `reprise` itself: without a subcommand it prints its help.
struct RootCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: ProgramName.current,
        abstract:
            "Rebuilds PostgreSQL read models from an event ledger and swaps them in, in one "
            + "transaction.",
        discussion: """
            Until the swap nothing changes that readers see, whatever fails. Settings come from \
            flags, then from the environment (DATABASE_URL, libpq's PGHOST and its like, \
            REPRISE_LEDGER, REPRISE_SCHEMA and so on), then from reprise.yaml in the working folder.

            \(ExitStatus.help)
            """,
        version: Reprise.version,
        subcommands: [
            PlanCommand.self, RebuildCommand.self, SwapCommand.self, RollbackCommand.self,
            PruneCommand.self, FollowCommand.self, StatusCommand.self, ReplayCommand.self,
            RemoveCommand.self, ResetCommand.self, LedgerCommand.self,
        ]
    )
}
