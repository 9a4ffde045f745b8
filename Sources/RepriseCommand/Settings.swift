internal import Configuration
internal import Foundation

/// Looks settings up: a flag wins over the environment, which wins over the settings file.
struct Settings: Sendable {
    private let environment: EnvironmentVariablesProvider
    let file: SettingsFile?

    /// Reads the settings file.
    ///
    /// - Parameter config: The file's path; nil for the default one, which need not exist.
    /// - Throws: ``CommandError``.
    init(config: String?) throws {
        environment = EnvironmentVariablesProvider(
            secretsSpecifier: .specific([SettingKey.database.environmentVariable])
        )
        file = try SettingsFile.read(named: config)
    }

    /// A text; nil when nobody sets it.
    func text(_ key: SettingKey, flag: String?) throws -> String? {
        if let flag { return flag }
        guard case .string(let text) = try find(key, .string)?.content else { return nil }
        return text
    }

    /// Which ledger a projection is made from: what the flag or the environment says for all, or else
    /// its own entry in the settings file, or else the one for all there; nil when nobody says.
    func ledger(flag: String?, for projection: String?) throws -> String? {
        if let flag { return flag }
        let isInEnvironment =
            try environment.environmentValue(forName: SettingKey.ledger.environmentVariable)?
            .isEmpty == false
        guard !isInEnvironment, let projection, let file, let values = file.values else {
            return try text(.ledger, flag: nil)
        }
        let name = Self.ledgerName(of: projection)
        let own = try value(
            of: AbsoluteConfigKey(["projections", projection, "ledger"]),
            .string,
            in: values,
            source: "The setting '\(name)' in '\(file.path)'"
        )
        guard case .string(let text) = own?.content else {
            return try self.text(.ledger, flag: nil)
        }
        return text
    }

    /// What the settings file calls a projection's own ledger.
    static func ledgerName(of projection: String) -> String { "projections.\(projection).ledger" }

    /// A path; nil when nobody sets it.
    ///
    /// An empty one is refused: a variable of the shell that is not set must not turn a gate off.
    func path(_ key: SettingKey, flag: String?) throws -> String? {
        let found =
            try flag.map { Found(content: .string($0), source: key.flag) } ?? find(key, .string)
        guard let found, case .string(let path) = found.content else { return nil }
        guard !path.isEmpty else {
            throw CommandError.badSetting(
                source: found.source,
                reason: "needs a path; it is empty"
            )
        }
        return path
    }

    /// A whole number.
    func number(
        _ key: SettingKey,
        flag: Int?,
        in range: ClosedRange<Int>,
        default fallback: Int
    ) throws -> Int {
        if let flag {
            return try check(flag, range, source: key.flag)
        }
        guard let found = try find(key, .int), case .int(let number) = found.content else {
            return fallback
        }
        return try check(number, range, source: found.source)
    }

    /// A number that may have a fraction.
    func decimal(
        _ key: SettingKey,
        flag: Double?,
        in range: ClosedRange<Double>,
        default fallback: Double
    ) throws -> Double {
        if let flag {
            return try check(flag, range, source: key.flag)
        }
        guard let found = try find(key, .double), case .double(let number) = found.content else {
            return fallback
        }
        return try check(number, range, source: found.source)
    }

    /// Command lines, one or a list of them, which only the settings file can name.
    func commands(_ key: SettingKey) throws -> [String] {
        guard let file, let values = file.values else { return [] }
        let source = Self.source(of: key, in: file)
        let path = AbsoluteConfigKey(key.path)
        let isList = (try? values.value(forKey: path, type: .string)) == nil
        let found = try value(of: path, isList ? .stringArray : .string, in: values, source: source)
        let commands: [String] =
            switch found?.content {
            case .string(let command): [command]
            case .stringArray(let commands): commands
            default: []
            }
        for command in commands {
            // The shell would read no further than a zero byte.
            guard !command.utf8.contains(0), command.contains(where: { !$0.isWhitespace }) else {
                throw CommandError.badSetting(source: source, reason: "holds an empty command line")
            }
        }
        return commands
    }

    /// Whether something is wanted.
    func yesOrNo(_ key: SettingKey, flag: Bool?, default fallback: Bool) throws -> Bool {
        if let flag { return flag }
        guard case .bool(let isWanted) = try find(key, .bool)?.content else { return fallback }
        return isWanted
    }

    /// One of several words; a flag's are checked when the command line is read.
    func choice<Choice: CaseIterable & RawRepresentable<String>>(
        _ key: SettingKey,
        flag: Choice?,
        default fallback: Choice
    ) throws -> Choice {
        if let flag { return flag }
        guard let found = try find(key, .string), case .string(let word) = found.content else {
            return fallback
        }
        guard let choice = Choice(rawValue: word) else {
            let words = Choice.allCases.map(\.rawValue)
            throw CommandError.badSetting(
                source: found.source,
                reason: "must be \(words.dropLast().joined(separator: ", ")) or "
                    + "\(words.last ?? ""); it is '\(word)'"
            )
        }
        return choice
    }

    private struct Found {
        let content: ConfigContent
        let source: String
    }

    private func find(_ key: SettingKey, _ type: ConfigType) throws -> Found? {
        let variable = key.environmentVariable
        // An empty variable counts as none, as in libpq.
        if try environment.environmentValue(forName: variable)?.isEmpty == false,
            let found = try value(
                of: AbsoluteConfigKey(key.environmentKey),
                type,
                in: environment.snapshot(),
                source: "The environment variable \(variable)"
            )
        {
            return found
        }
        guard let file, let values = file.values else { return nil }
        return try value(
            of: AbsoluteConfigKey(key.path),
            type,
            in: values,
            source: Self.source(of: key, in: file)
        )
    }

    private static func source(of key: SettingKey, in file: SettingsFile) -> String {
        "The setting '\(key.rawValue)' in '\(file.path)'"
    }

    private func value(
        of key: AbsoluteConfigKey,
        _ type: ConfigType,
        in snapshot: any ConfigSnapshot,
        source: String
    ) throws -> Found? {
        do {
            guard let value = try snapshot.value(forKey: key, type: type).value else { return nil }
            return Found(content: value.content, source: source)
        } catch {
            throw CommandError.badSetting(source: source, reason: "is not \(Self.noun(for: type))")
        }
    }

    private static func noun(for type: ConfigType) -> String {
        switch type {
        case .int: "a whole number"
        case .double: "a number"
        case .bool: "true or false"
        case .stringArray: "a command line or a list of them"
        default: "a text"
        }
    }

    private func check<Number: Comparable & CustomStringConvertible>(
        _ number: Number,
        _ range: ClosedRange<Number>,
        source: String
    ) throws -> Number {
        guard range.contains(number) else {
            throw CommandError.badSetting(
                source: source,
                reason: "must be \(range.lowerBound) to \(range.upperBound); it is \(number)"
            )
        }
        return number
    }
}
