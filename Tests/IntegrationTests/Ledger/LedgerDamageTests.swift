import Foundation
import ProjectionKit
import TestSupport
import Testing

@testable import Ledgers

/// Damage to a ledger's file, and what `verify` says of it.
///
/// Python's `sqlite3` tells what a damage changes: it reads every row of every table, in order
/// and by its key, from the damaged file and from the sound one.
@Suite("Damage to a ledger", .serialized)
struct LedgerDamageTests {
    @Test(
        "L5: every damage that changes what is read is found, and nothing else is called damage",
        arguments: [UInt64.random(in: 1...999_999_999)]
    )
    func everyDamage(seed: UInt64) async throws {
        print("damage: seed \(seed)")
        var random = SeededRandom(seed: seed)
        try await withScratchFolder { folder in
            let sound = "\(folder)/sound.ledger"
            try Self.fill(sound, &random)
            let bytes = try [UInt8](Data(contentsOf: URL(fileURLWithPath: sound)))
            let damages = Damage.some(bits: 1_000, pages: 100, of: bytes.count, &random)
            let effects = try await Self.effects(of: damages, on: sound, in: folder)
            #expect(effects.count == damages.count)
            var found = 0
            for (damage, effect) in zip(damages, effects) {
                let findings = try Self.findings(damage, in: bytes, at: "\(folder)/damaged.ledger")
                #expect(
                    !findings.isEmpty == (effect == "changed"),
                    "\(damage), seed \(seed): \(effect), \(findings)"
                )
                if !findings.isEmpty { found += 1 }
            }
            // Otherwise the damage hits nothing.
            #expect(found > 500)
        }
    }

    /// Events of all kinds: with ids and without, metadata, texts of every length.
    private static func fill(_ path: String, _ random: inout SeededRandom) throws {
        try SQLiteLedger.create(path: path, bucketWidth: 1_000)
        var events: [NewEvent] = []
        for number in 0..<1_500 {
            let time = 1_767_225_600_000_000 + Int64(number) * 40_000
            let isBackdated = Int.random(in: 0..<5, using: &random) == 0
            events.append(
                NewEvent(
                    id: [nil, "id-\(number)", "ordér/\(random.next())"][number % 3],
                    time: Timestamp(microseconds: isBackdated ? time - 7_000_000 : time),
                    stream: "stream-\(number % 23)",
                    type: "Type\(number % 7)",
                    data: payload(number, &random),
                    metadata: number % 4 == 0 ? #"{"by":"\#(number)"}"# : nil
                )
            )
        }
        try LedgerWriter.withWriter(path: path) { writer in
            for start in stride(from: 0, to: events.count, by: 300) {
                try writer.append(Array(events[start..<(start + 300)]))
            }
        }
    }

    private static func payload(_ number: Int, _ random: inout SeededRandom) -> String {
        switch number % 6 {
        case 0: "{}"
        case 1: #"{ "n" : 1234567890123456789012345678901234567890, "n": 1.10 }"#
        case 2: #"{"":"","text":"Zoë 😀 \ud83d\ude00"}"#
        case 3:
            #"{"deep":"# + String(repeating: "[", count: 50) + String(repeating: "]", count: 50)
                + "}"
        case 4 where number % 60 == 4:
            #"{"long":"\#(String(repeating: "x", count: Int.random(in: 9_000...50_000, using: &random)))"}"#
        default: #"{"number":\#(number)}"#
        }
    }

    private static func findings(
        _ damage: Damage,
        in sound: [UInt8],
        at path: String
    ) throws -> [String] {
        var bytes = sound
        damage.apply(to: &bytes)
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        defer { LedgerFile.remove(path) }
        do {
            return try LedgerVerify.run(path: path).findings.map { "\($0)" }
        } catch let error as LedgerError {
            return ["\(error)"]
        }
    }

    /// What each damage does to what is read: `same` or `changed`.
    private static func effects(
        of damages: [Damage],
        on sound: String,
        in folder: String
    ) async throws -> [String] {
        let outcome = try await ChildProcess.run(
            "/usr/bin/python3",
            ["-c", oracle, sound, "\(folder)/oracle.ledger"],
            input: damages.map(\.line).joined(separator: "\n")
        )
        #expect(outcome.status == 0, "\(outcome.standardError)")
        return outcome.standardOutput.split(separator: "\n").map(String.init)
    }

    private static let oracle = #"""
        import hashlib, sqlite3, sys
        sound, scratch = sys.argv[1:3]
        tables = {"ledger": ["only_row"], "log_state": ["only_row"], "events": ["sequence"],
                  "buckets": ["start_ms", "first_sequence"], "recent_ids": ["hash"], "id_runs": ["run"],
                  "id_chunks": ["place"], "imports": ["import", "source"]}
        def content(path, keys=None):
            db = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
            db.text_factory = bytes
            seen, found = hashlib.sha256(), {}
            for name in ("application_id", "user_version"):
                seen.update(repr(db.execute(f"PRAGMA {name}").fetchall()).encode())
            # A text that has become a blob is not found by its name any more.
            schema = """SELECT type, name, tbl_name, sql, typeof(type), typeof(name), typeof(tbl_name),
                typeof(sql) FROM sqlite_schema ORDER BY name"""
            seen.update(repr(db.execute(schema).fetchall()).encode())
            for table, columns in tables.items():
                for row in db.execute(f"SELECT * FROM {table} ORDER BY 1"): seen.update(repr(row).encode())
                for column in columns:
                    asked = (keys or {}).get((table, column))
                    if asked is None:
                        asked = [k for k, in db.execute(f"SELECT {column} FROM {table} ORDER BY 1")]
                        found[table, column] = asked
                    for key in asked or [0, "nobody"]:
                        query = f"SELECT * FROM {table} WHERE {column} = ?"
                        seen.update(repr(db.execute(query, (key,)).fetchall()).encode())
            db.close()
            return seen.hexdigest(), found
        wanted, keys = content(sound)
        wanted, _ = content(sound, keys)
        original = open(sound, "rb").read()
        for line in sys.stdin:
            kind, place, value = line.split()
            place, value, data = int(place), int(value), bytearray(original)
            if kind == "bit": data[place] ^= value
            elif kind == "copy": data[place:place + 16384] = original[value:value + 16384]
            else: data[place:place + value] = bytes(value)
            open(scratch, "wb").write(data)
            try: now, _ = content(scratch, keys)
            except Exception as error: now = str(error)
            print("same" if now == wanted else "changed")
        """#
}

/// One change of a file's bytes.
private enum Damage: CustomStringConvertible {
    /// A bit is turned over.
    case bit(place: Int, mask: UInt8)
    /// Some bytes are zeros.
    case zeros(place: Int, count: Int)
    /// A page is that of another place.
    case copy(place: Int, from: Int)

    static let page = 16_384

    static func some(
        bits: Int,
        pages: Int,
        of size: Int,
        _ random: inout SeededRandom
    ) -> [Damage] {
        var damages: [Damage] = (0..<bits).map { number in
            // Headers of pages are small, and much depends on them.
            let place =
                number % 5 == 0
                ? Int.random(in: 0..<(size / page), using: &random) * page
                    + Int.random(in: 0..<200, using: &random)
                : Int.random(in: 0..<size, using: &random)
            return .bit(place: place, mask: 1 << UInt8.random(in: 0..<8, using: &random))
        }
        for number in 0..<pages {
            let place = Int.random(in: 0..<(size / page), using: &random) * page
            switch number % 3 {
            case 0: damages.append(.zeros(place: place, count: page))
            case 1: damages.append(.zeros(place: place + page / 2, count: page / 2))
            default:
                let from = Int.random(in: 0..<(size / page), using: &random) * page
                damages.append(.copy(place: place, from: from))
            }
        }
        return damages
    }

    func apply(to bytes: inout [UInt8]) {
        switch self {
        case .bit(let place, let mask): bytes[place] ^= mask
        case .zeros(let place, let count):
            for index in place..<(place + count) { bytes[index] = 0 }
        case .copy(let place, let from):
            let other = Array(bytes[from..<(from + Self.page)])
            bytes.replaceSubrange(place..<(place + Self.page), with: other)
        }
    }

    /// As the oracle reads it.
    var line: String {
        switch self {
        case .bit(let place, let mask): "bit \(place) \(mask)"
        case .zeros(let place, let count): "zeros \(place) \(count)"
        case .copy(let place, let from): "copy \(place) \(from)"
        }
    }

    var description: String { line }
}
