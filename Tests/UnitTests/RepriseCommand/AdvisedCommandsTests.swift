import ArgumentParser
import Testing
import Wording

@testable import RepriseCommand

@Suite("Commands that are advised")
struct AdvisedCommandsTests {
    @Test(
        "have the options of the one that was typed, if they take them and do not have them",
        arguments: [
            ("rebuild shop --ledger my.db", "rollback shop", "rollback shop --ledger my.db"),
            ("rebuild shop --ledger=my.db", "follow shop", "follow shop --ledger my.db"),
            ("rebuild shop --ledger my.db", "prune shop", "prune shop"),
            ("rebuild shop --ledger my.db", "ledger verify", "ledger verify --ledger my.db"),
            (
                "rebuild shop --ledger my.db", "swap shop --ledger other.db",
                "swap shop --ledger other.db"
            ),
            (
                "rebuild shop --republish --incoming-foreign-keys recreate --deadline 2 --json",
                "rebuild shop --resume",
                "rebuild shop --resume --republish --incoming-foreign-keys recreate"
            ),
            (
                "rebuild shop --other-ledger --max-shrink 50", "rebuild shop --max-shrink 100",
                "rebuild shop --max-shrink 100 --other-ledger"
            ),
            ("rebuild shop --allow-older", "swap shop", "swap shop"),
            ("rebuild shop --ledger old.db --allow-older", "rollback shop", "rollback shop"),
            ("swap shop --without-ledger", "rollback shop", "rollback shop --without-ledger"),
            (
                "rebuild shop --no-republish", "rollback shop --republish",
                "rollback shop --republish"
            ),
            ("plan shop --strategy truncate", "rebuild shop", "rebuild shop --strategy truncate"),
            ("rebuild shop --strategy truncate", "rebuild shop --resume", "rebuild shop --resume"),
            ("rebuild shop --config a.yaml", "follow shop", "follow shop --config a.yaml"),
            (
                "rebuild shop --database postgresql://app:hush@db/x", "status shop",
                "status shop --database DATABASE"
            ),
            ("rebuild shop --database=dbname=x", "status shop", "status shop --database DATABASE"),
            (
                "rebuild shop --ledger kafka://app:hush@h/topic", "follow shop",
                "follow shop --ledger LEDGER"
            ),
            ("rebuild shop -- --ledger my.db", "rollback shop", "rollback shop"),
            ("rebuild shop --ledger", "rollback shop", "rollback shop"),
        ]
    )
    func options(typed: String, advised: String, expected: String) {
        let name = ProgramName.current
        let words = typed.split(separator: " ").map(String.init)
        for (text, whole) in [
            (
                "Error: it is so.\nFix that, then run '\(name) \(advised)', or wait.",
                "Error: it is so.\nFix that, then run '\(name) \(expected)', or wait."
            ),
            ("Next, if not: \(name) \(advised)", "Next, if not: \(name) \(expected)"),
            (
                "'\(name) \(advised)' and '\(name) \(advised)'",
                "'\(name) \(expected)' and '\(name) \(expected)'"
            ),
        ] {
            #expect(AdvisedCommands.complete(text, typed: words) == whole)
        }
    }

    @Test("are quoted as a shell reads them")
    func quotes() {
        let text = "run '\(ProgramName.current) rollback shop'."
        let typed = ["rebuild", "shop", "--ledger", "a b/it's.db", "--schema", "App \"1"]
        #expect(
            AdvisedCommands.complete(text, typed: typed)
                == #"run '\#(ProgramName.current) rollback shop --ledger 'a b/it'\''s.db' --schema 'App "1''."#
        )
    }

    @Test(
        "stay as they are where nothing is known of them",
        arguments: [
            "no command", "'reprise", "'reprise rebuild", "'reprise nonsense x'",
            "'other rebuild x'",
            "'reprise ledger verify --ledger 'a b.db'' tells", "Next: nothing",
            "reprise rebuild shop", "",
        ]
    )
    func others(text: String) {
        #expect(
            AdvisedCommands.complete(text, typed: ["rebuild", "shop", "--schema", "s"]) == text
        )
    }
}
