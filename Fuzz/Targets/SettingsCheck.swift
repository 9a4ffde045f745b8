import Postgres
import ReadModels

@testable import RepriseCommand

/// The settings file, and every setting that is read from it.
enum SettingsCheck {
    static func run(_ input: [UInt8]) throws {
        let file = try MemoryFile(input)
        do {
            let settings = try Settings(config: file.path)
            try attempt { _ = try settings.text(.database, flag: nil) }
            try attempt { _ = try settings.ledger(flag: nil, for: "shop") }
            try attempt { _ = try settings.positionTemplates() }
            for key in SettingKey.allCases {
                try attempt { _ = try settings.commands(key) }
                try attempt { _ = try settings.yesOrNo(key, flag: nil, default: true) }
                try attempt {
                    let path = try settings.path(key, flag: nil)
                    try require(path?.isEmpty != true, "a path is not empty")
                }
                try attempt {
                    let number = try settings.number(key, flag: nil, in: 3...9, default: 5)
                    try require((3...9).contains(number), "a number is in its range")
                }
                try attempt {
                    let number = try settings.decimal(key, flag: nil, in: 0.5...9, default: 5)
                    try require((0.5...9).contains(number), "a number is in its range")
                }
                try attempt {
                    _ = try settings.choice(
                        key,
                        flag: CutOverPatience.BlockerPolicy?.none,
                        default: .wait
                    )
                }
            }
        } catch is CommandError {}
    }

    private static func attempt(_ body: () throws -> Void) throws {
        do { try body() } catch let error as CommandError { _ = "\(error)" }
    }
}
