import ProjectionKit
import TestSupport
import Testing

@Suite("Timestamp and Day")
struct TimestampTests {
    @Test(
        "reads RFC 3339",
        arguments: [
            ("1970-01-01T00:00:00Z", 0), ("1970-01-01T00:00:00.000001Z", 1),
            ("1969-12-31T23:59:59.999999Z", -1), ("2000-01-01T00:00:00Z", 946_684_800_000_000),
            ("2026-03-01T09:30:00.125+01:00", 1_772_353_800_125_000),
            ("2026-03-01t09:30:00.125z", 1_772_357_400_125_000),
            ("2026-03-01 09:30:00-09:30", 1_772_391_600_000_000),
            ("2026-03-01T09:30:00-00:00", 1_772_357_400_000_000),
            ("2024-02-29T00:00:00Z", 1_709_164_800_000_000),
            ("2016-12-31T23:59:60Z", 1_483_228_800_000_000),
            ("2016-12-31T23:59:60.5Z", 1_483_228_800_500_000),
            ("1970-01-01T00:00:00.1234567899Z", 123_456),
            ("1970-01-01T00:00:00.1Z", 100_000), ("0001-01-01T00:00:00Z", -62_135_596_800_000_000),
            ("9999-12-31T23:59:59.999999Z", 253_402_300_799_999_999),
        ] as [(String, Int64)]
    )
    func parse(text: String, microseconds: Int64) {
        #expect(Timestamp(text)?.microseconds == microseconds)
    }

    @Test(
        "refuses everything else",
        arguments: [
            "", "2026", "2026-03-01", "2026-03-01T09:30Z", "2026-03-01T09:30:00",
            "2026-03-01T09:30:00+01", "2026-03-01T09:30:00+0100", "2026-03-01T24:00:00Z",
            "2026-03-01T09:60:00Z", "2026-03-01T09:30:61Z", "2026-03-01T09:30:00.Z",
            "2026-03-01T09:30:00+24:00", "2026-03-01T09:30:00+01:60", "2026-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z", "2026-04-31T00:00:00Z", "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z", "2026-01-00T00:00:00Z", "0000-01-01T00:00:00Z",
            "10000-01-01T00:00:00Z", " 2026-03-01T09:30:00Z", "2026-03-01T09:30:00Z ",
            "2026-03-01T09:30:00ZZ", "2026-03-01X09:30:00Z", "2026-3-01T09:30:00Z",
            "+026-03-01T09:30:00Z", "２026-03-01T09:30:00Z", "0001-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
        ]
    )
    func refuse(text: String) {
        #expect(Timestamp(text) == nil)
    }

    @Test("writes what it reads", arguments: [21, 22] as [UInt64])
    func roundTrip(seed: UInt64) {
        print("timestamps: seed \(seed)")
        var random = SeededRandom(seed: seed)
        let years: ClosedRange<Int64> = -62_135_596_800_000_000...253_402_300_799_999_999
        for _ in 0..<5_000 {
            var microseconds = Int64.random(in: years, using: &random)
            if Bool.random(using: &random) { microseconds -= microseconds % 1_000 }
            let time = Timestamp(microseconds: microseconds)
            #expect(Timestamp(time.description) == time, "\(time)")
        }
    }

    @Test("texts of one precision compare as their times do", arguments: [23] as [UInt64])
    func order(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let years: ClosedRange<Int64> = -62_135_596_800_000...253_402_300_799_999
        for _ in 0..<2_000 {
            let left = Timestamp(milliseconds: Int64.random(in: years, using: &random))
            let right = Timestamp(milliseconds: Int64.random(in: years, using: &random))
            #expect((left < right) == (left.description < right.description))
        }
    }

    @Test("an offset shifts a time by just that much", arguments: [24] as [UInt64])
    func offsets(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        for _ in 0..<500 {
            let hours = Int.random(in: 0..<24, using: &random)
            let minutes = Int.random(in: 0..<60, using: &random)
            let digits = [hours, minutes].map { $0 < 10 ? "0\($0)" : "\($0)" }
            let shift = Int64(hours * 60 + minutes) * 60_000_000
            let noon: Int64 = 1_772_366_400_000_000
            let clock = "2026-03-01T12:00:00"
            #expect(Timestamp("\(clock)+\(digits[0]):\(digits[1])")?.microseconds == noon - shift)
            #expect(Timestamp("\(clock)-\(digits[0]):\(digits[1])")?.microseconds == noon + shift)
        }
    }

    @Test("rounds to milliseconds and days downwards, before 1970 too")
    func rounding() {
        #expect(Timestamp(microseconds: 1_999).milliseconds == 1)
        #expect(Timestamp(microseconds: -1).milliseconds == -1)
        #expect(Timestamp(microseconds: -1_000).milliseconds == -1)
        #expect(Timestamp(microseconds: -1_001).milliseconds == -2)
        #expect(Timestamp(microseconds: -1).day.daysSince1970 == -1)
        #expect(Timestamp(microseconds: 0).day.daysSince1970 == 0)
        #expect(Timestamp(microseconds: -86_400_000_000).day.daysSince1970 == -1)
        #expect(Timestamp(microseconds: -1).description == "1969-12-31T23:59:59.999999Z")
    }

    @Test("describes the earliest and the latest time there can be")
    func extremes() {
        #expect(Timestamp(microseconds: .max).description == "294247-01-10T04:00:54.775807Z")
        #expect(Timestamp(microseconds: .min).description == "-290308-12-21T19:59:05.224192Z")
        #expect(Timestamp(microseconds: .min).milliseconds == -9_223_372_036_854_776)
    }

    @Test("knows every month of the years 1 to 9999")
    func calendar() throws {
        var expected: Int32 = -719_162
        for year in 1...9_999 {
            let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
            let lengths = [31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
            for (index, length) in lengths.enumerated() {
                let first = try #require(Day(year: year, month: index + 1, day: 1))
                let last = Day(daysSince1970: expected + Int32(length) - 1)
                guard first.daysSince1970 == expected, first.components == (year, index + 1, 1),
                    last.components == (year, index + 1, length),
                    Day(year: year, month: index + 1, day: length) == last,
                    Day(year: year, month: index + 1, day: length + 1) == nil
                else {
                    Issue.record("year \(year), month \(index + 1)")
                    return
                }
                expected += Int32(length)
            }
        }
        #expect(Day(year: 9_999, month: 12, day: 31)?.daysSince1970 == expected - 1)
    }

    @Test("reads and writes days")
    func days() {
        func day(_ text: String) -> Day? {
            Array(text.utf8).withUnsafeBytes { Day(iso8601: $0) }
        }
        #expect(day("2026-03-01")?.description == "2026-03-01")
        #expect(day("0001-01-01")?.description == "0001-01-01")
        for text in ["", "2026-03-1", "2026-02-29", "2026-03-01T", "20260301", "2026/03/01"] {
            #expect(day(text) == nil)
        }
    }
}
