import Foundation
import Ledgers
import Postgres
import ProjectionKit
import ProjectionTesting
import ReadModels
import Rebuilder
import TestSupport
import Testing
import Wording

@testable import RepriseCommand

@Suite("Text for people")
struct TextForPeopleTests {
    @Test("letters of every script stay, and what cannot be seen is escaped (X11)")
    func letters() {
        for name in ["Straße", "naïve e\u{301}", "заказ", "注文", "הזמנה", "طلب", "😀", "a b'\"\\"] {
            #expect(TextForPeople.line(name) == name)
            #expect(TextForPeople.lines(name) == name)
        }
        #expect(TextForPeople.line("a\nb\u{1B}[m\0") == #"a\u{a}b\u{1b}[m\u{0}"#)
        #expect(TextForPeople.line("\r\n\t\u{9B}\u{7F}") == #"\u{d}\u{a}\u{9}\u{9b}\u{7f}"#)
        for value in [0x202A...0x202E, 0x2066...0x2069, 0x200B...0x200F, 0x2028...0x2029].joined() {
            let scalar = Unicode.Scalar(UInt32(value)).map(String.init) ?? ""
            #expect(TextForPeople.line(scalar) == "\\u{\(String(value, radix: 16))}")
        }
        #expect(TextForPeople.line("abcdef", most: 3) == "abc…")
        #expect(TextForPeople.shown("a\nb", most: 2) == #"'a\u{a}…'"#)
        #expect(TextForPeople.lines("a\r\nb\u{1B}") == "a\\u{d}\nb\\u{1b}")
        #expect(
            TextForPeople.oneLine("It failed.\nSQLSTATE: 1\n\tHINT: h")
                == "It failed. SQLSTATE: 1; HINT: h"
        )
    }

    @Test("an escaped text is escaped no further", arguments: [1, 2, 3] as [UInt64])
    func once(seed: UInt64) {
        print("text for people: seed \(seed)")
        var random = SeededRandom(seed: seed)
        for _ in 0..<500 {
            let text = ForeignText.random(using: &random)
            let line = TextForPeople.line(text)
            #expect(ForeignText.harm(in: line) == [])
            #expect(!line.contains("\n"))
            #expect(TextForPeople.line(line) == line)
            #expect(TextForPeople.lines(line) == line)
            let oneLine = TextForPeople.oneLine(text)
            #expect(ForeignText.harm(in: oneLine) == [] || oneLine == ForeignText.forged)
            #expect(!oneLine.contains("\n"))
        }
    }

    @Test("no message lets a foreign text write a line (X11)", arguments: [4, 5, 6] as [UInt64])
    func messages(seed: UInt64) throws {
        print("messages: seed \(seed)")
        var random = SeededRandom(seed: seed)
        for _ in 0..<40 {
            for message in try Self.messages(of: ForeignText.random(using: &random)) {
                #expect(ForeignText.harm(in: message) == [], "\(message.debugDescription)")
            }
        }
    }

    @Test("reports, lists and JSON show what others named without obeying it (X11)")
    func reports() throws {
        let name = ForeignText.name("view")
        var fields = FieldList()
        fields.add("views", [name, "next"])
        #expect(ForeignText.harm(in: fields.text) == [])
        #expect(fields.text.split(separator: "\n").count == 2)
        let lines = Columns.lines([["1", name], ["22", "b"]], right: [0])
        #expect(ForeignText.harm(in: lines.joined(separator: "\n")) == [])
        #expect(lines.count == 2)

        let text = try JSONOutput.text(["name": name, "plain": "é漢\u{1F600}"])
        #expect(ForeignText.harm(in: text) == [])
        #expect(text.contains("é漢\u{1F600}"))
        let read = try JSONDecoder().decode([String: String].self, from: Data(text.utf8))
        #expect(read["name"] == name)
    }

    /// Every message that can be made with a text in each of its places.
    private static func messages(of text: String) throws -> [String] {
        try rejections(of: text) + ofReadModels(text) + ofServers(text) + ofCommands(text)
    }

    private static func rejections(of text: String) throws -> [String] {
        let fold = Refusing.makeFold()
        let batch = EventBatch()
        batch.append(
            LedgerEvent(
                position: Position(1),
                time: Timestamp(milliseconds: 0),
                bucketStart: 0,
                type: text,
                stream: text,
                payload: "{}",
                id: text,
                metadata: nil
            )
        )
        let rejection = try #require(throws: EventRejection.self) { try fold.apply(batch) }
        // Facts stay as they are.
        #expect(rejection.event.stream == text && rejection.reason == text)
        return [rejection.message, rejection.description, rejection.event.description]
    }

    private static func ofReadModels(_ text: String) -> [String] {
        let errors: [ReadModelError] = [
            .server(doing: text, reason: "\(server(text))"),
            .runBusy(projection: "p", holder: text),
            .runStale(projection: "p", holder: text, silence: 61, backendPID: 1),
            .endedByAnother(projection: "p", run: 1, by: 2),
            .followerStale(projection: "p", holder: text, silence: 61, backendPID: 1),
            .bookkeepingBlocked(blockers: [text]), .lockedOut(reason: text, blockers: [text]),
            .followerBusy(projection: "p", holder: text),
            .refusedByPlan(projection: "p", reasons: [text, "b"]),
            .rowRejected(RejectedRow(table: "t", reason: "\(server(text))")),
            .otherRows(projection: "p", table: text, reason: text),
            .checkFailed(projection: "p", generation: 1, reasons: [text]),
            .reloadFailsCheck(projection: "p", reasons: [text]),
            .cutOverBlocked(
                projection: "p",
                attempts: 1,
                blockers: [text],
                haveSessions: true,
                readyGeneration: 2
            ),
            .behindLive(projection: "p", generation: 1, position: text, livePosition: text),
            .changedMeanwhile(projection: "p", reason: text),
            .nothingToMove(projection: "p", reason: text),
            .positionUnreadable(projection: "p", reason: text),
            .positionMisfit(projection: "p", generation: 1, position: text, format: .number),
            .positionUnwritten(projection: "p", rows: text), .untrustedBookkeeping(reasons: [text]),
            .untrustedEventTriggers(reasons: [text]),
            .bookkeepingOfAnother(owner: text, role: text),
        ]
        return errors.map { "\($0)" }
            + errors.map { "\(LaterFailure(projection: "p", cause: $0))" }
    }

    private static func server(_ text: String) -> ServerError {
        ServerError(
            sqlState: "P0001",
            message: text,
            detail: "\(text)\nview v depends on \(text)",
            hint: text,
            context: "PL/pgSQL function \(text) line 3 at RAISE\nSQL statement \"\(text)\""
        )
    }

    private static func ofServers(_ text: String) -> [String] {
        let connections: [ConnectionError] = [
            .malformed(reason: text), .unreachable(summary: text, reason: text),
            .authenticationFailed(summary: text, reason: text),
            .databaseMissing(summary: text, reason: text),
            .connectDenied(summary: text, reason: text),
            .databaseClosed(summary: text, reason: text),
            .settingsUnusable(summary: text, reason: text),
            .tooManyConnections(summary: text, reason: text),
            .notAccepting(summary: text, reason: text),
            .lost(summary: text, during: text, reason: text),
        ]
        let statements: [StatementError] = [
            .textHoldsNUL(during: text), .parameterHoldsNUL(number: 1, during: text),
            .tooManyParameters(count: 1, during: text), .copyNotExpected(during: text),
            .copyExpected(during: text),
        ]
        let error = server(text)
        return connections.map { "\($0)" } + statements.map { "\($0)" } + [
            "\(error)", error.descriptionWithValues,
        ]
    }

    private static func ofCommands(_ text: String) -> [String] {
        let commands: [CommandError] = [
            .unknownProjection(name: text, nearest: text, known: [text]),
            .badSetting(source: "The setting in '\(text)'", reason: "must be a; it is '\(text)'"),
            .badSettingsFile(path: text, reason: "holds the unknown setting '\(text)'"),
            .consentMissing(command: "remove \(text)"),
            .ledgerUnsound(path: text, findings: 1), .noSuchEvent(id: text, ledger: text),
            .ledgerReplaced(ledger: text, position: text),
            .outputFailed(reason: text, done: nil),
        ]
        let ledgers: [LedgerError] = [
            .missing(path: text), .notALedger(path: text, reason: text),
            .damaged(path: text, reason: text), .foreignLog(path: text, reason: text),
            .failed(path: text, reason: text), .foreign(place: text, reason: text),
            .unknownScheme(text, known: [text]), .refused(path: text, reason: text),
        ]
        let copies: [CopyError] = [
            .failed(path: text, reason: text), .unsound(source: text, findings: 1, first: text),
            .rejected(path: text, event: text, reason: text),
        ]
        struct Surprise: Error, CustomStringConvertible { let description: String }
        return commands.map { "\($0)" } + ledgers.map { "\($0)" } + copies.map { "\($0)" } + [
            ExitStatus.unexpectedMessage(of: Surprise(description: text))
        ]
    }
}

/// Refuses each event in its own words.
private struct Refusing: Projection {
    static let name = "refusing"
    static let schema: String? = nil

    mutating func reduce(_ event: borrowing Event) throws { throw EventError(event.stream) }
}
