import Foundation
import ProjectionKit
import TestSupport
import Testing

@testable import Ledgers

@Suite("Times of an import")
struct TimeReadingTests {
    private func read(_ text: String, _ times: TimeReading = TimeReading()) throws -> Int64 {
        var text = text
        return try text.withUTF8 { try times.microseconds(of: UnsafeRawBufferPointer($0)) }
    }

    private func failure(_ text: String, _ times: TimeReading = TimeReading()) -> TimeReadingError?
    {
        do {
            _ = try read(text, times)
            return nil
        } catch {
            return error as? TimeReadingError
        }
    }

    @Test("zones have their IANA names, and an abbreviation that is none is refused")
    func zoneNames() {
        for name in [
            "BST", "IST", "CST", "PST", "AST", "SST", "ACT", "ECT", "JST", "VST", "EDT", "PDT",
            "SystemV/AST4", "GMT+3", "",
        ] {
            #expect(TimeReading.zone(named: name) == nil, "\(name)")
        }
        // Their offsets on the first of July 2026, as zdump(8) says.
        for (name, hours) in [
            ("Europe/London", 1), ("Asia/Kolkata", 5.5), ("America/Halifax", -3), ("UTC", 0),
            ("EST", -5), ("MST", -7), ("HST", -10), ("CET", 2), ("EET", 3), ("WET", 1),
            ("EST5EDT", -4), ("GMT", 0), ("Japan", 9), ("Etc/GMT+3", -3), ("US/Eastern", -4),
            ("America/Argentina/Ushuaia", -3), ("NZ", 12), ("+02:00", 2), ("-05:30", -5.5),
        ] {
            let zone = TimeReading.zone(named: name)
            let date = Date(timeIntervalSince1970: 1_782_864_000)
            #expect(zone?.secondsFromGMT(for: date) == Int(hours * 3_600), "\(name)")
        }
    }

    @Test(
        "the ways in which programs write an instant are read",
        arguments: [
            ("2026-03-01T09:30:00Z", 1_772_357_400_000_000),
            ("2026-03-01t09:30:00z", 1_772_357_400_000_000),
            ("2026-03-01 09:30:00+00", 1_772_357_400_000_000),
            ("2026-03-01 09:30:00.123456+00", 1_772_357_400_123_456),
            ("2026-03-01T09:30:00,5Z", 1_772_357_400_500_000),
            ("2026-03-01T09:30:00.1234567Z", 1_772_357_400_123_456),
            ("2026-03-01T09:30:00.999999999999Z", 1_772_357_400_999_999),
            ("2026-03-01T15:00:00+0530", 1_772_357_400_000_000),
            ("2026-03-01T15:00:00+05:30", 1_772_357_400_000_000),
            ("2026-03-01T02:30:00-07", 1_772_357_400_000_000),
            ("2026-03-01T09:30Z", 1_772_357_400_000_000),
            ("2026-03-01T09:30+00", 1_772_357_400_000_000),
            ("2026-03-01 09:30:00 UTC", 1_772_357_400_000_000),
            ("2026-03-01T10:30:00+01:00[Europe/Berlin]", 1_772_357_400_000_000),
            ("2016-12-31T23:59:60Z", 1_483_228_800_000_000),
            ("0001-01-01T00:00:00Z", -62_135_596_800_000_000),
            ("9999-12-31T23:59:59.999999Z", 253_402_300_799_999_999),
            ("1772357400", 1_772_357_400_000_000),
            ("1700000000.123456", 1_700_000_000_123_456),
            ("1700000000.1234569", 1_700_000_000_123_456),
            ("1.7e9", 1_700_000_000_000_000),
            ("1700000000123", 1_700_000_000_123_000),
            ("1700000000123.4567", 1_700_000_000_123_456),
            ("1700000000123456", 1_700_000_000_123_456),
            ("1700000000123456789", 1_700_000_000_123_456),
            ("0", 0),
            ("-1", -1_000_000),
            ("-0.0000001", -1),
            ("99999999999", 99_999_999_999_000_000),
            ("100000000000", 100_000_000_000_000),
        ]
    )
    func instants(_ text: String, _ expected: Int64) throws {
        #expect(try read(text) == expected)
    }

    @Test("a unit that is given counts more than the magnitude")
    func units() throws {
        #expect(try read("1700000000", TimeReading(unit: .milliseconds)) == 1_700_000_000_000)
        #expect(try read("20260301", TimeReading(unit: .seconds)) == 20_260_301_000_000)
        #expect(
            try read("1700000000123456789", TimeReading(unit: .nanoseconds))
                == 1_700_000_000_123_456
        )
        #expect(failure("1700000000123456789", TimeReading(unit: .seconds)) == .outside)
    }

    @Test(
        "what is no instant is refused for its reason",
        arguments: [
            ("yesterday", TimeReadingError.unknown), ("", .unknown),
            ("2026-02-30T00:00:00Z", .unknown),
            ("2026-03-01T24:00:00Z", .unknown), ("2026-03-01T09:30:00.Z", .unknown),
            ("2026-03-01T09:30:00+5", .unknown), ("2026-03-01T09:30:00+05:", .unknown),
            ("2026-03-01T09:30:00Zx", .unknown), ("0x10", .unknown), ("1.", .unknown),
            (".5", .unknown),
            ("+1", .unknown), ("1e", .unknown), ("NaN", .unknown),
            ("10000-01-01T00:00:00Z", .unknown),
            ("0001-01-01T00:00:00+00:01", .outside), ("0001-01-01T00:00+00:01", .outside),
            ("2026-03-01T09:30:00", .local), ("2026-03-01", .day), ("20260301", .dateDigits),
            ("20260301093000", .dateDigits), ("9223372036854775807000", .outside),
            ("1e300", .outside),
            ("-1e300", .outside), ("999999999999999999999999999999", .outside),
        ]
    )
    func refused(_ text: String, _ expected: TimeReadingError) {
        #expect(failure(text) == expected)
    }

    @Test("a local time counts in the zone that is given, also where clocks are set")
    func zones() throws {
        let zone: TimeZone = try #require(TimeReading.zone(named: "Europe/Berlin"))
        let berlin = TimeReading(zone: zone)
        #expect(try read("2026-03-01 10:30:00", berlin) == 1_772_357_400_000_000)
        #expect(try read("2026-03-01", berlin) == 1_772_319_600_000_000)
        // 2026-10-25: 03:00 becomes 02:00, so that 02:30 comes twice; the first one is +02:00.
        #expect(try read("2026-10-25 02:30:00", berlin) == 1_792_888_200_000_000)
        // 2026-03-29: 02:00 becomes 03:00, so that 02:30 never is; +01:00 goes on, which is 03:30.
        #expect(try read("2026-03-29 02:30:00", berlin) == 1_774_747_800_000_000)
        // An offset of its own counts more.
        #expect(try read("2026-03-01 09:30:00Z", berlin) == 1_772_357_400_000_000)
        let offset: TimeZone = try #require(TimeReading.zone(named: "+05:30"))
        let india = TimeReading(zone: offset)
        #expect(try read("2026-03-01 15:00:00", india) == 1_772_357_400_000_000)
        #expect(TimeReading.zone(named: "Nowhere/City") == nil)
    }

    @Test("numbers of any form neither trap nor lose a digit before the microsecond")
    func randomNumbers() throws {
        let seed = UInt64.random(in: 0 ... .max)
        print("seed \(seed)")
        var random = SeededRandom(seed: seed)
        for _ in 0..<5_000 {
            let value = Int64.random(
                in: -62_135_596_800_000_000...253_402_300_799_999_999,
                using: &random
            )
            let magnitude = String(value.magnitude)
            let padded = String(repeating: "0", count: max(0, 7 - magnitude.count)) + magnitude
            let seconds = (value < 0 ? "-" : "") + padded.dropLast(6) + "." + padded.suffix(6)
            #expect(try read(seconds, TimeReading(unit: .seconds)) == value, "\(seconds)")
            #expect(try read("\(value)", TimeReading(unit: .microseconds)) == value)
            let letters = Array("0123456789+-.eE:TZ ")
            let length = Int.random(in: 0...24, using: &random)
            let junk = String(
                (0..<length).map { _ in letters.randomElement(using: &random) ?? "0" }
            )
            _ = failure(junk)
        }
    }
}
