import Foundation
import Ledgers
import ProjectionKit
import TestSupport
import Testing

/// What `export` writes, `import` takes back to an equal ledger.
@Suite("Export and import", .serialized)
struct RoundTripTests {
    @Test("a ledger of odd payloads comes back equal, to the byte")
    func oddPayloads() async throws {
        try await withScratchFolder { folder in
            let path = "\(folder)/odd.ledger"
            try SQLiteLedger.create(path: path, bucketWidth: 1_000)
            try LedgerWriter.withWriter(path: path) { writer in
                writer.allowsFuture = true
                try writer.append(Self.oddEvents)
            }
            try await Self.expectEqual(path, in: folder)
        }
    }

    @Test("an event of 60 MiB comes back equal")
    func largeEvent() async throws {
        try await withScratchFolder { folder in
            let path = "\(folder)/large.ledger"
            try SQLiteLedger.create(path: path)
            let text = String(repeating: "Zoë 😀 ", count: (60 << 20) / 10)
            try LedgerWriter.withWriter(path: path) {
                try $0.append([
                    NewEvent(stream: "large", type: "Large", data: #"{"text":"\#(text)"}"#),
                    NewEvent(stream: "large", type: "Small", data: "{}"),
                ])
            }
            try await Self.expectEqual(path, in: folder, width: "15s")
        }
    }

    @Test(
        "the shop comes back equal, through a compressed file as well",
        arguments: ["none", "gzip"]
    )
    func shop(compression: String) async throws {
        try await withScratchFolder { folder in
            let path = "\(folder)/shop.ledger"
            try SQLiteLedger.create(path: path)
            try LedgerWriter.withWriter(path: path) {
                _ = try ShopWorkload(events: 20_000, seed: 11).write(to: $0)
            }
            try await Self.expectEqual(path, in: folder, width: "15s", compression: compression)
        }
    }

    @Test("a real log of loan applications comes back equal")
    func loans() async throws {
        let file = "../shared/data/bpic2012.ndjson.gz"
        guard FileManager.default.fileExists(atPath: file) else {
            print("There is no \(file): the round trip of the loan log was not tested.")
            return
        }
        try await withScratchFolder { folder in
            let path = "\(folder)/loans.ledger"
            try await Self.reprise(["ledger", "create", path])
            try await Self.reprise(["ledger", "import", file, "--ledger", path])
            try await Self.expectEqual(path, in: folder, width: "15s")
        }
    }

    private static let oddEvents: [NewEvent] = {
        let payloads = [
            "{}", " { } ", #"{"n":1234567890123456789012345678901234567890.5e-7}"#,
            #"{"a":1,"a":2,"A":3}"#, #"{"":"","empty":"","s":"\u0001\n\t\\\/\"'"}"#,
            #"{"astral":"😀 \ud83d\ude00 \u00e9 é e\#u{301}"}"#,
            "{\n  \"pretty\" : [\r\n 1,\t2 ]\r\n}",
            "{\"deep\":" + String(repeating: "[", count: 900) + String(repeating: "]", count: 900)
                + "}",
            #"{"z":-0,"e":1E+400,"d":0.10,"t":true,"x":null}"#, #"{"data_text":"{}","id":"inner"}"#,
            "{\"separators\":\"\u{2028}\u{2029}\u{7f}\"}",
        ]
        let ids: [String?] = [
            nil, "id", "ordér/1", "7d444840-9dc0-11d1-b245-5ffdce74fad2", " ", "\"\\\n",
        ]
        let times: [Int64] = [
            0, -1, 1_767_225_600_123_456, -62_135_596_800_000_000, 253_402_300_799_999_999, 1,
        ]
        var events: [NewEvent] = []
        for (index, payload) in payloads.enumerated() {
            for (number, time) in times.enumerated() {
                let id = ids[(index + number) % ids.count]
                events.append(
                    NewEvent(
                        id: id.map { "\($0)\(index)-\(number)" },
                        time: Timestamp(microseconds: time),
                        stream: ["s", "größe-渡辺", " a\"b\\c\n"][number % 3],
                        type: ["T", "Ünïcode", "with space"][index % 3],
                        data: payload,
                        metadata: number % 2 == 0 ? nil : payload
                    )
                )
            }
        }
        return events
    }()

    /// Exports, imports into a new ledger, and lets SQLite compare the two.
    private static func expectEqual(
        _ path: String,
        in folder: String,
        width: String = "1s",
        compression: String = "none"
    ) async throws {
        let (file, copy) = ("\(folder)/events.ndjson", "\(folder)/copy.ledger")
        let compress = compression == "none" ? [] : ["--compress", compression]
        try await reprise(["ledger", "export", "--ledger", path, "--output", file] + compress)
        try await reprise(["ledger", "create", copy, "--bucket-width", width])
        try await reprise(["ledger", "import", file, "--ledger", copy, "--allow-future"])
        let outcome = try await ChildProcess.run(
            "/usr/bin/python3",
            ["-c", comparison, path, copy]
        )
        #expect(outcome.standardOutput == "equal\n", "\(outcome.standardError)")
    }

    private static func reprise(_ arguments: [String]) async throws {
        let outcome = try await ChildProcess.run(try BuiltProgram("reprise").path, arguments)
        #expect(outcome.status == 0, "\(arguments): \(outcome.standardError)")
    }

    private static let comparison = """
        import sqlite3, sys
        first, second = (sqlite3.connect(f"file:{p}?mode=ro", uri=True) for p in sys.argv[1:3])
        columns = "sequence, time, stream, type, payload, metadata, id, checksum"
        for query in (f"SELECT {columns} FROM events ORDER BY sequence",
                      "SELECT * FROM buckets ORDER BY start_ms"):
            left, right = first.execute(query), second.execute(query)
            number = 0
            while True:
                a, b = left.fetchone(), right.fetchone()
                if a != b: sys.exit(f"row {number} differs: {str(a)[:300]} | {str(b)[:300]}")
                if a is None: break
                number += 1
            if number == 0: sys.exit("there is nothing to compare")
        print("equal")
        """
}
