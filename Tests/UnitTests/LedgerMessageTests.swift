import Testing
import Wording

@testable import Ledgers

@Suite("Messages of the ledger")
struct LedgerMessageTests {
    @Test(
        "each says in three lines what happened where, what readers see, and what to type",
        arguments: [
            LedgerError.missing(path: "/data/a.ledger"),
            .locked(path: "/data/a.ledger"),
            .olderFormat(path: "/data/a.ledger"),
            .newerFormat(path: "/data/a.ledger", found: 9, supported: 2),
            .notALedger(path: "/data/a.ledger", reason: "it is empty"),
            .damaged(path: "/data/a.ledger", reason: "a page is malformed"),
            .logMissing(path: "/data/a.ledger"),
            .unreadableLog(path: "/data/a.ledger"),
            .writtenWhileRead(path: "/data/a.ledger"),
            .failed(path: "/data/a.ledger", reason: "the disk is full"),
            .exists(path: "/data/a.ledger"),
            .refused(path: "/data/a.ledger", reason: "its type is empty"),
        ]
    )
    func threeLines(_ error: LedgerError) {
        let lines = error.description.split(separator: "\n")
        #expect(lines.count == 3)
        #expect(lines.first?.contains("/data/a.ledger") == true)
        #expect(lines.dropFirst().first == "Nothing that readers see has changed.")
        #expect(lines.last?.contains(/^[A-Z].*\.$/) == true)
    }

    @Test("a word for a shell stays one word when a combining mark follows a quote")
    func combinedQuote() {
        let word = TextForPeople.argument("a'\u{301} b; c")
        #expect(Array(word.utf8) == Array("'a'\\''\u{301} b; c'".utf8))
    }

    @Test("a path in a URL keeps what stands for a zero byte, where no path can go on")
    func zeroByteInURL() {
        #expect(LedgerAddress("sqlite:a%20b.db").path == "a b.db")
        #expect(LedgerAddress("sqlite:a%00b.db").path == "a%00b.db")
    }

    @Test("a bad line's message names file, line and reason, and says what was stored")
    func badLine() {
        var counts = ImportProgress()
        counts.records = 42
        counts.stored = 40
        counts.present = 1
        let error = ImportError(
            kind: .badRecord,
            file: "'orders.ndjson'",
            place: "line 42",
            reason: "'time' is missing or null",
            advice: nil,
            ledger: "a.ledger",
            counts: counts,
            skipBad: 0
        )
        #expect(
            error.description == """
                'orders.ndjson', line 42, is not an event for this ledger: 'time' is missing or null.
                Nothing that readers see has changed; 40 events were stored in 'a.ledger', \
                1 were there already.
                Correct it and run the same command again, which continues there; \
                or set bad records aside with '--skip-bad 1'.
                """
        )
    }
}
