internal import ArgumentParser
internal import Foundation
public import LedgerKit
public import ProjectionKit

/// The command line of Reprise, for a package that has projections of its own.
///
/// ```swift
/// import RepriseCommand
///
/// await Reprise.main(projections: [Stock.self])
/// ```
public enum Reprise {
    /// The version that `--version` prints.
    public static let version = "0.1.0"

    /// Reads the command line, does what it says, and ends the process with a documented exit
    /// status (`docs/messages.md`).
    ///
    /// SIGINT and SIGTERM cancel the command, which then ends with 130 or 143; a second signal ends
    /// the process at once. Neither can leave the live tables half changed.
    ///
    /// - Parameters:
    ///   - projections: What the command knows, in the order in which it lists them. Two of one
    ///     name, or with a table in common, are a mistake in the program and trap.
    ///   - ledgers: Kinds of ledgers that `--ledger` can name by a URL, besides the embedded one.
    public static func main(
        projections: [any Projection.Type],
        ledgers: [LedgerScheme] = []
    ) async -> Never {
        Registry.assertSound(projections)
        let status = await Registry.$projections.withValue(projections) {
            await Registry.$ledgers.withValue(ledgers) {
                await run(Array(CommandLine.arguments.dropFirst()))
            }
        }
        exit(status)
    }

    private static func run(_ arguments: [String]) async -> Int32 {
        let (result, signal) = await withSignalsCancelling {
            do {
                try await execute(arguments)
                return Result<Void, any Error>.success(())
            } catch {
                return .failure(error)
            }
        }
        guard case .failure(let error) = result else { return ExitStatus.done.rawValue }
        return report(error, signal: signal)
    }

    private static func execute(_ arguments: [String]) async throws {
        var command = try RootCommand.parseAsRoot(arguments)
        if var command = command as? any AsyncParsableCommand {
            try await command.run()
        } else {
            try command.run()
        }
    }

    /// Prints what ended the command.
    private static func report(_ error: any Error, signal: Int32?) -> Int32 {
        if let signal, error is CancellationError || error is Interrupted {
            Console.standardError.write(error: Interrupted.message(of: error, signal: signal))
            return 128 + signal
        }
        if let status = ExitStatus(of: error) {
            let message = (error as? EventRejection)?.message ?? "\(error)"
            Console.standardError.write(error: message)
            return status.rawValue
        }
        return reportParsing(error)
    }

    /// What ArgumentParser throws: help and version, which are results, and mistakes in usage, for
    /// which it would exit with 64.
    private static func reportParsing(_ error: any Error) -> Int32 {
        let message = RootCommand.fullMessage(for: error)
        switch RootCommand.exitCode(for: error) {
        case .success:
            do {
                try ResultStream.print(message)
                return ExitStatus.done.rawValue
            } catch {
                return report(error, signal: nil)
            }
        case .validationFailure:
            Console.standardError.write(line: message)
            return ExitStatus.usage.rawValue
        default:
            Console.standardError.write(error: ExitStatus.unexpectedMessage(of: error))
            return ExitStatus.unexpected.rawValue
        }
    }
}
