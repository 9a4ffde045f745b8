internal import Configuration
internal import Foundation
internal import Glibc
internal import Synchronization

/// The names of the settings, as they stand in the settings file.
enum SettingKey: String, CaseIterable {
    case database
    case ledger
    case schema
    case keep
    case jobs
    case foldCopies = "fold_copies"
    case maxShrinkPercent = "max_shrink_percent"
    case outageBudgetMs = "outage_budget_ms"
    case deadlineSeconds = "deadline_seconds"
    case blockers
    case blockersAfterSeconds = "blockers_after_seconds"
    case oldSnapshots = "old_snapshots"
    case postponeFile = "postpone_file"
    case republish
    case publishNewTables = "publish_new_tables"
    case incomingForeignKeys = "incoming_foreign_keys"
    case allowLoss = "allow_loss"
    case adopt
    case lateEvents = "late_events"
    case latenessHorizonSeconds = "lateness_horizon_seconds"
    case settleSeconds = "settle_seconds"
    case catchUpLimitSeconds = "catch_up_limit_seconds"
    case hooksBeforeSwap = "hooks.before_swap"
    case hooksAfterSwap = "hooks.after_swap"
    case hookTimeoutSeconds = "hook_timeout_seconds"

    /// Where it stands in the settings file.
    var path: [String] { rawValue.split(separator: ".").map(String.init) }

    /// The environment variable, as swift-configuration spells it.
    var environmentKey: [String] {
        self == .database ? ["database", "url"] : ["reprise", rawValue]
    }

    /// The same as people type it.
    var environmentVariable: String {
        environmentKey.joined(separator: "_").uppercased()
    }

    /// The flag.
    var flag: String {
        switch self {
        case .maxShrinkPercent: "--max-shrink"
        case .outageBudgetMs: "--outage-budget"
        case .deadlineSeconds: "--deadline"
        case .blockersAfterSeconds: "--blockers-after"
        case .latenessHorizonSeconds: "--lateness-horizon"
        case .settleSeconds: "--settle"
        case .catchUpLimitSeconds: "--catch-up-limit"
        default: "--" + rawValue.replacing("_", with: "-")
        }
    }
}

/// A settings file that was read.
struct SettingsFile: Sendable {
    /// The name of the file that is read when no other is named.
    static let defaultPath = "reprise.yaml"

    /// Where it is.
    let path: String
    /// Its values; nil when it holds none.
    let values: YAMLSnapshot?

    /// Reads the file that was named, or the default one if it is there.
    ///
    /// The default one is found without being asked for, and can name a database to send a password to
    /// and a program to run. So it is read only where nobody but this user and root can have written it.
    ///
    /// - Throws: ``CommandError/badSettingsFile(path:reason:)``; never with the file's content,
    ///   which can hold a password.
    static func read(named path: String?) throws -> SettingsFile? {
        let place = path ?? defaultPath
        guard FileManager.default.fileExists(atPath: place) else {
            if path == nil { return nil }
            throw CommandError.badSettingsFile(path: place, reason: "does not exist")
        }
        if path == nil, let reason = strangers(of: place) {
            throw CommandError.badSettingsFile(
                path: place,
                reason: "\(reason), so that it is read only where it is named: --config \(place)"
            )
        }
        guard let text = try? String(contentsOfFile: place, encoding: .utf8) else {
            throw CommandError.badSettingsFile(path: place, reason: "cannot be read as UTF-8 text")
        }
        return SettingsFile(path: place, values: try parse(text, path: place))
    }

    /// Who else can have written a file, as a clause; nil for nobody.
    private static func strangers(of path: String) -> String? {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        if status.st_uid != geteuid(), status.st_uid != 0 { return "belongs to another user" }
        let isOpen = status.st_mode & mode_t(S_IWOTH) != 0
        let isGroups = status.st_mode & mode_t(S_IWGRP) != 0 && !isPrivate(status.st_gid)
        return isOpen || isGroups ? "can be written by others (chmod go-w)" : nil
    }

    /// Whether a group is this user's alone, as those are that some systems give each user.
    private static func isPrivate(_ group: gid_t) -> Bool {
        guard let entry = getgrgid(group), let user = getpwuid(geteuid()),
            strcmp(entry.pointee.gr_name, user.pointee.pw_name) == 0
        else { return false }
        return entry.pointee.gr_mem?.pointee == nil
    }

    private static func parse(_ text: String, path: String) throws -> YAMLSnapshot? {
        let isBlank = text.split(whereSeparator: \.isNewline).allSatisfy { line in
            let line = line.drop { $0 == " " || $0 == "\t" }
            return line.isEmpty || line.hasPrefix("#") || line.hasPrefix("---")
        }
        if isBlank { return nil }
        // The only place where a snapshot shows which keys the file holds is the question whether
        // one is a secret.
        let found = KeyCollector()
        let options = YAMLSnapshot.ParsingOptions(
            secretsSpecifier: .dynamic { key, _ in
                found.add(key)
                return key == SettingKey.database.rawValue
            }
        )
        let snapshot: YAMLSnapshot
        do {
            snapshot = try YAMLSnapshot(
                data: Array(text.utf8).span.bytes,
                providerName: path,
                parsingOptions: options
            )
        } catch {
            throw CommandError.badSettingsFile(
                path: path,
                reason: "is not YAML of the form 'name: value'\(place(of: error))"
            )
        }
        let known =
            SettingKey.allCases.map(\.rawValue) + PositionField.names
            + Registry.names.map { Settings.ledgerName(of: $0) }
        for key in found.keys where !known.contains(key) {
            let nearest = Spelling.nearest(to: key, among: known)
            throw CommandError.badSettingsFile(
                path: path,
                reason: "holds the unknown setting '\(key)'"
                    + (nearest.map { "; did you mean '\($0)'?" } ?? "")
            )
        }
        return snapshot
    }

    /// The line and column that the YAML parser puts first, such as `3:1: error: …`; the rest of its
    /// message quotes the file.
    private static func place(of error: any Error) -> String {
        let parts = "\(error)".split(separator: ":", maxSplits: 2).prefix(2).compactMap { Int($0) }
        return parts.count == 2 ? " (line \(parts[0]), column \(parts[1]))" : ""
    }
}

/// Collects what a `@Sendable` closure is called with.
private final class KeyCollector: Sendable {
    private let collected = Mutex<[String]>([])

    var keys: [String] { collected.withLock { $0.sorted() } }

    func add(_ key: String) { collected.withLock { $0.append(key) } }
}
