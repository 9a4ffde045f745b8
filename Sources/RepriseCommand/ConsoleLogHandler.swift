internal import FoundationEssentials
internal import Logging
internal import Wording

/// Writes log messages to standard error as one line each: `Warning: …`.
struct ConsoleLogHandler: LogHandler {
    var logLevel: Logger.Level
    var metadata: Logger.Metadata = [:]
    var metadataProvider: Logger.MetadataProvider?

    init(level: Logger.Level) {
        logLevel = level
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let text = TextForPeople.line(event.message.description)
        Console.standardError.write(line: "\(event.level.rawValue.capitalized): \(text)")
    }
}

extension Logger {
    /// The command's logger.
    ///
    /// Not one of `LoggingSystem`, which belongs to the program that links this library.
    static func console(level: Logger.Level) -> Logger {
        Logger(label: "reprise") { _ in ConsoleLogHandler(level: level) }
    }
}
