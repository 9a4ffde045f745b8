import Foundation
import Ledgers
import ProjectionKit
import TestSupport
import Testing

/// A ledger with what an event may have: times that go back, ids of every kind and none, metadata,
/// and JSON written in every way.
struct OddLedger {
    /// How many events it has.
    static let events = 400

    /// Makes one; the same seed makes the same events.
    static func write(to path: String, seed: UInt64, bucketWidth: Int64 = 1_000) throws {
        var random = SeededRandom(seed: seed)
        try EmbeddedLedger.create(path: path, bucketWidth: bucketWidth)
        var clock: Int64 = 1_767_225_600_000_000
        let events = (0..<Self.events).map { number in
            clock += Int64.random(in: 0...300_000, using: &random)
            // Now and then a clock that is behind, or the same time again.
            let back = Int.random(in: 0..<8, using: &random) == 0
            let time = back ? clock - Int64.random(in: 0...5_000_000, using: &random) : clock
            return NewEvent(
                id: id(number, &random),
                time: Timestamp(microseconds: time),
                stream: Self.streams.randomElement(using: &random) ?? "s",
                type: Self.types.randomElement(using: &random) ?? "T",
                data: Self.objects.randomElement(using: &random) ?? "{}",
                metadata: Bool.random(using: &random)
                    ? Self.objects.randomElement(using: &random) : nil
            )
        }
        try LedgerWriter.withWriter(path: path) { writer in
            for start in stride(from: 0, to: events.count, by: 37) {
                try writer.append(Array(events[start..<min(start + 37, events.count)]))
            }
        }
    }

    private static func id(_ number: Int, _ random: inout SeededRandom) -> String? {
        switch Int.random(in: 0..<4, using: &random) {
        case 0: nil
        case 1: "\(number)"
        case 2: "id \"\(number)\" \\ \u{7} é\t😀"
        default: "0197b0c8-0000-7000-8000-\(String(format: "%012d", number))"
        }
    }

    private static let streams = [
        "s", "order-1", "Straße 7", "a\"b\\c", "line\nbreak", "\u{1B}[31mred", "日本語-1",
        "\u{202E}rtl",
    ]
    private static let types = ["T", "Order\u{1}Placed", "quote\"d", "Ünïcode", "OrderPlaced"]
    private static let objects = [
        "{}", #"{"a":1}"#, #"{ "a" : [ 1 , 2.50 ] , "b" : "x\ny" }"#, "{\"a\":\r\n  1}",
        "{\n}", "{\"a\":\t\"é\u{2028}😀\"}", #"{"a":1,"a":2}"#, #"{"big":1e400,"z":-0}"#,
        #"{"t":"\u0000\\\"\/"}"#, "{\"long\":\"" + String(repeating: "x", count: 70_000) + "\"}",
    ]
}

/// Python's own reading of a ledger file and of lines, which shares no code with the product.
struct Oracle {
    /// Runs a program, and expects that it finds nothing wrong.
    static func run(
        _ program: String,
        _ arguments: [String],
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> String {
        let outcome = try await ChildProcess.run("/usr/bin/python3", ["-c", program] + arguments)
        #expect(
            outcome.status == 0 && !outcome.wasKilled,
            "\(outcome.standardError)",
            sourceLocation: sourceLocation
        )
        return outcome.standardOutput
    }

    /// Compares lines with the rows of a ledger: `ledger lines [first [last]]`.
    static let lines = """
        import json, sqlite3, sys, datetime
        ledger, lines = sys.argv[1:3]
        rows = sqlite3.connect(ledger).execute('''SELECT id, time, stream, type,
            CAST(payload AS BLOB), CAST(metadata AS BLOB) FROM events ORDER BY sequence''').fetchall()
        if len(sys.argv) > 3: rows = rows[int(sys.argv[3]):int(sys.argv[4])]
        text = open(lines, 'rb').read()
        assert text.endswith(b'\\n') or not text
        found = text.split(b'\\n')[:-1]
        assert len(found) == len(rows), (len(found), len(rows))
        epoch = datetime.datetime(1970, 1, 1)
        for line, (id, time, stream, type, data, metadata) in zip(found, rows):
            event = json.loads(line)
            stamp = (epoch + datetime.timedelta(microseconds=time)).strftime('%Y-%m-%dT%H:%M:%S.%fZ')
            assert event['time'] == stamp, (event['time'], stamp)
            assert (event.get('id'), event['stream'], event['type']) == (id, stream, type), line[:99]
            assert ('id' in event) == (id is not None)
            wanted, end = ['id'] if id is not None else [], b''
            wanted += ['time', 'stream', 'type']
            for name, value in (('data', data), ('metadata', metadata)):
                if value is None: continue
                if b'\\n' in value or b'\\r' in value:
                    name += '_text'
                    assert event[name].encode() == value
                else:
                    assert (b',"' + name.encode() + b'":' + value) in line
                wanted.append(name)
            assert list(event) == wanted, (list(event), wanted)
        print(len(rows))
        """
}
