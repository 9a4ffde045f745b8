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
                "rebuild shop --resume --republish --incoming-foreign-keys recreate --deadline 2"
            ),
            (
                "rebuild shop --other-ledger --max-shrink 50", "rebuild shop --max-shrink 100",
                "rebuild shop --max-shrink 100 --other-ledger"
            ),
            ("rebuild shop --allow-older", "swap shop", "swap shop"),
            (
                "rebuild shop --ledger old.db --allow-older", "rollback shop",
                "rollback shop --without-ledger"
            ),
            ("rebuild shop --ledger a.db --ledger b.db", "swap shop", "swap shop --ledger b.db"),
            (
                "rebuild shop --allow-loss --no-allow-loss", "rebuild shop --resume",
                "rebuild shop --resume --no-allow-loss"
            ),
            (
                "rebuild shop --keep 5 --postpone-file gate", "rebuild shop --resume",
                "rebuild shop --resume --keep 5 --postpone-file gate"
            ),
            (
                "rebuild shop --keep 5 --blockers terminate --postpone-file gate", "rollback shop",
                "rollback shop --postpone-file gate"
            ),
            ("rebuild shop --ledger=-my.db", "swap shop", "swap shop --ledger='-my.db'"),
            ("rebuild shop --ledger my.db", "rebuild", "rebuild"),
            ("rebuild shop --schema s", "status", "status --schema s"),
            ("rebuild shop --schema s", "status --help", "status --help"),
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

    @Test("of a program whose name has to be quoted have their options, too")
    func nameWithSpace() {
        let complete = {
            AdvisedCommands.complete(
                $0,
                typed: ["rebuild", "shop", "--schema", "s"],
                program: TextForPeople.argument("my tool")
            )
        }
        #expect(
            complete("run ''my tool' rollback shop' again")
                == "run ''my tool' rollback shop --schema s' again"
        )
        #expect(
            complete("Next: 'my tool' rollback shop") == "Next: 'my tool' rollback shop --schema s"
        )
    }

    @Test(
        "are read by the words that a shell finds, up to the mark that ends a quotation around them",
        arguments: [
            ("a b' c", ["a", "b"], "' c"), ("a 'b c'' d", ["a", "b c"], "' d"),
            (#"create 'it'\''s.gone' x' y"#, ["create", "it's.gone", "x"], "' y"),
            (#"a b\ c"#, ["a", "b c"], ""), ("--x='a b'", ["--x=a b"], ""),
            (#"$'a\x0ab' c'"#, ["ax0ab", "c"], "'"), ("", [], ""),
            ("a ''", ["a", ""], ""),
        ]
    )
    func shellWords(text: String, words: [String], rest: String) {
        let read = ShellWords(of: text[...])
        #expect(read.words == words)
        #expect(text[read.end...] == rest)
    }

    @Test("no password stands in a message, wherever an address was typed")
    func passwords() {
        for (text, shown) in [
            (
                "There is no 'postgresql://u:hush@h/d'; run 'x create postgresql://u:a@b/c@h/d y'",
                "There is no 'postgresql://…@h/d'; run 'x create postgresql://…@h/d y'"
            ),
            (
                "Write postgresql://user@host:5432/database",
                "Write postgresql://user@host:5432/database"
            ),
            (
                "'file:/x?password=hush&a=b' PASSWORD=hush z",
                "'file:/x?password=…&a=b' PASSWORD=… z"
            ),
        ] {
            #expect(AdvisedCommands.complete(text, typed: []) == shown)
        }
    }
}
