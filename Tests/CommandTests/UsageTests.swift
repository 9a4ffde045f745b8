import Foundation
import TestSupport
import Testing

@Suite("Usage and settings")
struct UsageTests {
    static let mistakes = [
        ("plan --sql", ["Error: --sql prints the cut-over of one projection", "Usage: "]),
        ("plan shop loans --sql", ["Error: --sql prints the cut-over of one projection"]),
        ("plan shop --all --sql", ["Error: --sql prints the cut-over of one projection"]),
        ("plan shop --sql --json", ["Error: --sql prints SQL, --json an outline"]),
        ("plan shop --sql --strategy truncate", ["Error: --sql prints a swap"]),
        ("swap shop --blockers shoot", ["'shoot'", "wait", "cancel", "terminate"]),
        ("rollback shop --old-snapshots hide", ["'hide'", "wait", "proceed"]),
        ("plan shop --incoming-foreign-keys drop", ["'drop'", "refuse", "recreate"]),
        ("rebuild shop --blockers-after soon", ["'soon'", "--blockers-after"]),
    ]

    @Test("a mistake on the command line is status 2, with the usage")
    func usage() async throws {
        try await withScratchFolder { folder in
            let reprise = RepriseProcess(in: folder)
            expect(try await reprise.run("frobnicate"), exits: 2, saying: ["Error: ", "Usage: "])
            expect(try await reprise.run("rebuild --keep"), exits: 2, saying: ["--keep"])
            expect(
                try await reprise.run("rebuild shop --strategy hope"),
                exits: 2,
                saying: ["hope", "swap"]
            )
            expect(
                try await reprise.run("rebuild shop --no-swap --strategy truncate"),
                exits: 2,
                saying: ["--no-swap"]
            )
            expect(
                try await reprise.run("rebuild shop --resume --check-determinism"),
                exits: 2,
                saying: ["--check-determinism", "--resume"]
            )
            for (arguments, parts) in Self.mistakes {
                expect(try await reprise.run(arguments), exits: 2, saying: parts)
            }
            expect(
                try await reprise.run("ledger create a.db --bucket-width 15"),
                exits: 2,
                saying: ["15s, 500ms, 1m, 1h"]
            )
            expect(
                try await reprise.run("ledger append --type A --stream a --data {} --time noon"),
                exits: 2,
                saying: ["'noon' is not an RFC 3339 time"]
            )
        }
    }

    @Test(
        "an unknown projection gets the nearest name and the list",
        arguments: [["rebuild"], ["plan"], ["swap"], ["rollback"], ["prune"], ["status"]]
    )
    func unknownProjection(command: [String]) async throws {
        try await withScratchFolder { folder in
            let reprise = RepriseProcess(in: folder)
            expect(
                try await reprise.run([command[0], "shpo"]),
                exits: 2,
                saying: [
                    "Error: There is no projection 'shpo'; did you mean 'shop'?", unchanged,
                    "Known projections: shop, loans, fulfilment.",
                ]
            )
            expect(
                try await reprise.run([command[0], "warehouse"]),
                exits: 2,
                saying: [
                    "There is no projection 'warehouse'.", unchanged, "shop, loans, fulfilment",
                ]
            )
        }
    }

    @Test("X8: settings that others can write are read only where they are named")
    func openSettings() async throws {
        try await withScratchFolder { folder in
            let reprise = RepriseProcess(in: folder)
            let path = "\(folder)/reprise.yaml"
            try Data("ledger: settings.db\n".utf8).write(to: URL(fileURLWithPath: path))
            #expect(chmod(path, 0o666) == 0)
            expect(
                try await reprise.run("ledger info"),
                exits: 2,
                saying: [
                    "'reprise.yaml' can be written by others (chmod go-w), so that it is read only "
                        + "where it is named: --config reprise.yaml."
                ]
            )
            // What the message advises.
            for ready in ["--config reprise.yaml", ""] {
                if ready.isEmpty { #expect(chmod(path, 0o644) == 0) }
                let outcome = try await reprise.run("ledger info \(ready)")
                expect(outcome, exits: 4, saying: ["'settings.db'"])
            }
        }
    }

    @Test("a rebuild is never of everything by mistake")
    func unclearProjections() async throws {
        try await withScratchFolder { folder in
            let reprise = RepriseProcess(in: folder)
            let parts = [unchanged, "shop, loans, fulfilment"]
            expect(
                try await reprise.run("rebuild"),
                exits: 2,
                saying: ["No projection is named; --all stands for each of them."] + parts
            )
            expect(
                try await reprise.run("rebuild shop --all"),
                exits: 2,
                saying: ["Name projections, or say --all; not both."] + parts
            )
        }
    }

    @Test("a flag wins over the environment, which wins over the settings file")
    func precedence() async throws {
        try await withScratchFolder { folder in
            try Data("ledger: of-the-file.db\n".utf8)
                .write(to: URL(fileURLWithPath: "\(folder)/reprise.yaml"))
            try Data("ledger: of-another-file.db\n".utf8)
                .write(to: URL(fileURLWithPath: "\(folder)/other.yaml"))
            let reprise = RepriseProcess(in: folder)
            let environment = ["REPRISE_LEDGER": "of-the-environment.db"]
            expect(
                try await reprise.run("ledger info"),
                exits: 4,
                saying: ["no ledger at 'of-the-file.db'"]
            )
            expect(
                try await reprise.run("ledger info --config other.yaml"),
                exits: 4,
                saying: ["no ledger at 'of-another-file.db'"]
            )
            expect(
                try await reprise.run("ledger info", environment: environment),
                exits: 4,
                saying: ["no ledger at 'of-the-environment.db'"]
            )
            expect(
                try await reprise.run("ledger info", environment: ["REPRISE_LEDGER": ""]),
                exits: 4,
                saying: ["no ledger at 'of-the-file.db'"]
            )
            expect(
                try await reprise.run(
                    "ledger info --ledger of-the-flag.db",
                    environment: environment
                ),
                exits: 4,
                saying: ["no ledger at 'of-the-flag.db'"]
            )
        }
    }

    @Test(
        "a settings file that cannot be used is refused by name",
        arguments: [
            ("keeep: 1", ["'reprise.yaml' holds the unknown setting 'keeep'", "'keep'?"]),
            ("keep:\n  shop: 1", ["'reprise.yaml' holds the unknown setting 'keep.shop'"]),
            ("keep: many", ["'keep' in 'reprise.yaml' is not a whole number"]),
            ("keep: 1.5", ["'keep' in 'reprise.yaml' is not a whole number"]),
            ("keep: -1", ["'keep' in 'reprise.yaml' must be 0 to 1000; it is -1"]),
            (
                "max_shrink_percent: some",
                ["'max_shrink_percent' in 'reprise.yaml' is not a number"]
            ),
            (
                "blockers: shoot",
                ["'blockers' in 'reprise.yaml' must be wait, cancel or terminate; it"]
            ),
            ("old_snapshots: 7", ["'old_snapshots' in 'reprise.yaml' must be wait or proceed; it"]),
            (
                "incoming_foreign_keys: drop",
                [
                    "'incoming_foreign_keys' in 'reprise.yaml' must be refuse or recreate; it is 'drop'"
                ]
            ),
            ("republish: perhaps", ["'republish' in 'reprise.yaml' is not true or false"]),
            (
                "blockers_after_seconds: -1",
                ["'blockers_after_seconds' in 'reprise.yaml' must be 0.0 to 86400.0; it is -1.0"]
            ),
            ("hooks: echo", ["holds the unknown setting 'hooks'"]),
            ("hooks: {before: echo}", ["unknown setting 'hooks.before'", "'hooks.before_swap'?"]),
            ("hooks: {after_swap: ['']}", ["'hooks.after_swap' in 'reprise.yaml' holds an empty"]),
            ("hooks: {before_swap: ' '}", ["'hooks.before_swap' in 'reprise.yaml' holds an empty"]),
            (
                "hook_timeout_seconds: 0",
                ["'hook_timeout_seconds' in 'reprise.yaml' must be 0.1 to"]
            ),
            ("outage_budget_ms: 5", ["'outage_budget_ms' in 'reprise.yaml' must be 20 to 3600000"]),
            ("postpone_file: ''", ["'postpone_file' in 'reprise.yaml' needs a path; it is empty"]),
            ("database: [a, b]", ["'database' in 'reprise.yaml' is not a text"]),
            ("- keep", ["'reprise.yaml' is not YAML of the form 'name: value'"]),
            (
                "# a comment\ndatabase: {postgresql://app:secret-1234@db/shop",
                ["'reprise.yaml' is not YAML of the form 'name: value' (line "]
            ),
        ]
    )
    func badSettingsFile(text: String, parts: [String]) async throws {
        try await withScratchFolder { folder in
            try Data(text.utf8).write(to: URL(fileURLWithPath: "\(folder)/reprise.yaml"))
            let outcome = try await RepriseProcess(in: folder).run("rebuild shop")
            expect(outcome, exits: 2, saying: parts + [unchanged])
            #expect(!outcome.standardError.contains("secret-1234"))
        }
    }

    @Test("a settings file without settings is as good as none")
    func emptySettingsFile() async throws {
        try await withScratchFolder { folder in
            try Data("---\n# keep: 3\n\n".utf8)
                .write(to: URL(fileURLWithPath: "\(folder)/reprise.yaml"))
            let outcome = try await RepriseProcess(in: folder).run("ledger info")
            expect(outcome, exits: 4, saying: ["no ledger at 'ledger.db'"])
        }
    }

    @Test("a settings file that was named must be there")
    func missingSettingsFile() async throws {
        try await withScratchFolder { folder in
            expect(
                try await RepriseProcess(in: folder).run("status --config nowhere.yaml"),
                exits: 2,
                saying: ["The settings file 'nowhere.yaml' does not exist.", unchanged]
            )
        }
    }

    @Test("a value that does not fit is refused with the name of its variable or flag")
    func badValues() async throws {
        try await withScratchFolder { folder in
            let reprise = RepriseProcess(in: folder)
            expect(
                try await reprise.run("rebuild shop", environment: ["REPRISE_JOBS": "two"]),
                exits: 2,
                saying: ["The environment variable REPRISE_JOBS is not a whole number", unchanged]
            )
            expect(
                try await reprise.run("rebuild shop --max-shrink 101"),
                exits: 2,
                saying: ["--max-shrink must be 0.0 to 100.0; it is 101.0", unchanged]
            )
            expect(
                try await reprise.run("swap shop", environment: ["REPRISE_REPUBLISH": "maybe"]),
                exits: 2,
                saying: [
                    "The environment variable REPRISE_REPUBLISH is not true or false", unchanged,
                ]
            )
            expect(
                try await reprise.run("swap shop", environment: ["REPRISE_BLOCKERS": "shoot"]),
                exits: 2,
                saying: [
                    "The environment variable REPRISE_BLOCKERS must be wait, cancel or", unchanged,
                ]
            )
            expect(
                try await reprise.run(["rollback", "shop", "--postpone-file", ""]),
                exits: 2,
                saying: ["--postpone-file needs a path; it is empty", unchanged]
            )
            expect(
                try await reprise.run("swap shop --blockers-after 86401"),
                exits: 2,
                saying: ["--blockers-after must be 0.0 to 86400.0; it is 86401.0", unchanged]
            )
            expect(
                try await reprise.run("swap shop --deadline nan"),
                exits: 2,
                saying: ["--deadline must be", unchanged]
            )
        }
    }
}
