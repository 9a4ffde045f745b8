import Foundation
import ProjectionKit
import TestSupport
import Testing

@testable import Ledgers

/// The checksums of a ledger's file, reckoned again in Python from the note of its format.
@Suite("Checksums of a ledger")
struct LedgerChecksumTests {
    @Test("are those that the note of the format describes, for events, buckets, header and ids")
    func asDescribed() async throws {
        try await withScratchFolder { folder in
            let path = "\(folder)/a.ledger"
            try SQLiteLedger.create(path: path, bucketWidth: 1_000)
            var events: [NewEvent] = []
            for number in 0..<3_000 {
                events.append(
                    NewEvent(
                        id: number % 3 == 0 ? nil : "ordér/\(number)",
                        time: Timestamp(
                            microseconds: 1_767_225_600_000_000 + Int64(number) * 9_007
                        ),
                        stream: "größe-\(number % 7)",
                        type: "T\(number % 5)",
                        data:
                            #"{"n":\#(number),"text":"\#(String(repeating: "x", count: number % 300))"}"#,
                        metadata: number % 4 == 0 ? #"{"by":\#(number)}"# : nil
                    )
                )
            }
            try LedgerWriter.withWriter(path: path) { writer in
                try writer.append(Array(events[..<2_000]))
                for event in events[2_000...].prefix(20) { try writer.append([event]) }
                try writer.append(Array(events[2_020...]))
            }
            let outcome = try await ChildProcess.run("/usr/bin/python3", ["-c", oracle, path])
            #expect(outcome.status == 0, "\(outcome.standardError)")
            #expect(outcome.standardOutput == "3000 events, 2000 ids\n")
        }
    }

    private let oracle = """
        import sqlite3, struct, sys, xxhash
        db = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
        db.text_factory = bytes
        def signed(hash): return hash - (1 << 64) if hash >> 63 else hash
        def xxh3(data, seed=0): return xxhash.xxh3_64_intdigest(data, seed)
        length = lambda text: -1 if text is None else len(text)
        checksums, ids, bytes_of = {}, {}, {}
        seed = db.execute("SELECT id_seed FROM ledger").fetchone()[0] % (1 << 64)
        for row in db.execute("SELECT sequence, time, stream, type, payload, metadata, id, checksum FROM events"):
            sequence, time, *texts, stored = row
            hash = xxh3(struct.pack("<7q", sequence, time, *map(length, texts)))
            for text in texts:
                if text is not None: hash = xxh3(text, hash)
            assert signed(hash) == stored, f"event {sequence}"
            checksums[sequence] = stored
            bytes_of[sequence] = sum(len(text) for text in texts if text is not None)
            if texts[-1] is not None: ids[sequence] = xxh3(texts[-1], seed)
        for start, first, events, size, stored in db.execute("SELECT * FROM buckets"):
            chain = 0
            for sequence in range(first, first + events):
                chain = signed(xxh3(struct.pack("<qq", chain, checksums[sequence])))
            assert chain == stored, f"bucket {start}"
            assert size == sum(bytes_of[s] for s in range(first, first + events)), f"bytes of {start}"
        identity, width, id_seed, created, stored = db.execute(
            "SELECT identity, bucket_width_ms, id_seed, created_at, checksum FROM ledger").fetchone()
        text = f"2\\n{identity.decode()}\\n{width}\\n{id_seed}\\n{created}\\n"
        assert signed(xxh3(text.encode())) == stored, "header"
        found = [(h % (1 << 64), s) for h, s in db.execute("SELECT hash, sequence FROM recent_ids")]
        bits = dict(db.execute("SELECT run, prefix_bits FROM id_runs"))
        for place, chunk in db.execute("SELECT place, ids FROM id_chunks ORDER BY place"):
            entries = [struct.unpack_from("<Qq", chunk, at) for at in range(0, len(chunk), 16)]
            assert entries == sorted(entries, key=lambda e: e[0]), f"chunk {place}"
            run, prefix = place >> 24, place & 0xffffff
            assert all((h >> (64 - bits[run])) == prefix for h, _ in entries), f"prefix of {place}"
            found += entries
        assert sorted(found) == sorted((h, s) for s, h in ids.items()), "ids"
        print(f"{len(checksums)} events, {len(ids)} ids")
        """
}
