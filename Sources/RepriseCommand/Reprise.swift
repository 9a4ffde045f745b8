internal import ArgumentParser
internal import Foundation
public import LedgerKit
public import ProjectionKit
internal import Wording

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
    /// SIGHUP, SIGINT and SIGTERM cancel the command, which then ends with 129, 130 or 143 within 25 s;
    /// a second signal ends the process at once. Neither can leave the live tables half changed.
    ///
    /// A reducer that traps ends the process by its signal, and standard error says at which event.
    ///
    /// - Parameters:
    ///   - projections: What the command knows, in the order in which it lists them. Two of one
    ///     name, or with a table in common, are a mistake in the program, and each command ends with
    ///     status 2.
    ///   - ledgers: Kinds of ledgers that `--ledger` can name by a URL, besides the embedded one.
    public static func main(
        projections: [any Projection.Type],
        ledgers: [LedgerScheme] = []
    ) async -> Never {
        ProgramName.take(from: CommandLine.arguments.first)
        TypedCommand.take(Array(CommandLine.arguments.dropFirst()))
        ResultStream.takeStandardOutput()
        ResultStream.outliveReaders()
        CrashReport.begin(program: ProgramName.current)
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
                let mistakes = Registry.mistakes(in: Registry.projections, Registry.ledgers)
                guard mistakes.isEmpty else { throw CommandError.badProgram(mistakes: mistakes) }
                try await execute(arguments)
                return Result<Void, any Error>.success(())
            } catch {
                return .failure(error)
            }
        }
        guard case .failure(let error) = result else { return ExitStatus.done.rawValue }
        let (status, message) = ending(of: error, signal: signal)
        if let message { ResultStream.printFailure(message, status: status) }
        return status
    }

    private static func execute(_ arguments: [String]) async throws {
        var command = try RootCommand.parseAsRoot(arguments)
        if var command = command as? any AsyncParsableCommand {
            try await command.run()
        } else {
            try command.run()
        }
    }

    /// Prints what ended the command on standard error.
    ///
    /// - Returns: The exit status, and the message; nil for a result.
    private static func ending(
        of error: any Error,
        signal: Int32?
    ) -> (status: Int32, message: String?) {
        if let signal, let message = Interrupted.message(of: error, signal: signal) {
            Console.standardError.write(error: message)
            return (128 + signal, message)
        }
        if let status = ExitStatus(of: error) {
            let message = (error as? EventRejection)?.message ?? "\(error)"
            Console.standardError.write(error: message)
            return (status.rawValue, message)
        }
        return endingOfParsing(error)
    }

    /// What ArgumentParser throws: help and version, which are results, and mistakes in usage, for
    /// which it would exit with 64.
    private static func endingOfParsing(_ error: any Error) -> (status: Int32, message: String?) {
        let message = RootCommand.fullMessage(for: error)
        switch RootCommand.exitCode(for: error) {
        case .success:
            do {
                try ResultStream.print(message)
                return (ExitStatus.done.rawValue, nil)
            } catch {
                return ending(of: error, signal: nil)
            }
        case .validationFailure:
            Console.standardError.write(line: message)
            return (ExitStatus.usage.rawValue, message)
        default:
            let message = ExitStatus.unexpectedMessage(of: error)
            Console.standardError.write(error: message)
            return (ExitStatus.unexpected.rawValue, message)
        }
    }
}
