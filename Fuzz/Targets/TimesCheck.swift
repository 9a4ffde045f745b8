import Foundation

@testable import Ledgers
@testable import ProjectionKit

/// Times and days, in the ways in which they are read.
enum TimesCheck {
    /// A zone, a zero byte, a time.
    static func run(_ input: [UInt8]) throws {
        let texts = input.texts(2)
        let zone = TimeReading.zone(named: texts[0])
        try check(texts[1])
        try check(texts[0])
        for unit in [nil] + TimeReading.Unit.allCases.map(Optional.some) {
            try read(texts[1], TimeReading(zone: zone, unit: unit))
        }
    }

    private static func check(_ text: String) throws {
        if let time = Timestamp(text) {
            try require(Timestamp.ledgerYears.contains(time.microseconds), "a ledger holds it")
            try require(Timestamp(time.description) == time, "what is printed is read")
            let start = Timestamp(microseconds: Int64(time.day.daysSince1970) * 86_400_000_000)
            try require(
                start <= time && time.microseconds - start.microseconds < 86_400_000_000,
                "a day holds its times"
            )
            try compare(text, time)
        }
        if let day = Array(text.utf8).withUnsafeBytes({ Day(iso8601: $0) }) {
            try require(day.description == text, "a day is printed as it was read")
            let (year, month, number) = day.components
            try require(Day(year: year, month: month, day: number) == day, "a day has its parts")
        }
    }

    /// The C library knows the same instant.
    private static func compare(_ text: String, _ time: Timestamp) throws {
        let pattern = /(....)-(..)-(..).(..):(..):(..)(?:\.([0-9]+))?(?:([-+])(..):(..)|[Zz])/
        guard let match = text.wholeMatch(of: pattern) else {
            throw FuzzFailure(description: "'\(text)' was read and is no RFC 3339 time")
        }
        func number(_ part: Substring) -> Int32 { Int32(part) ?? -1 }
        var parts = tm()
        parts.tm_year = number(match.1) - 1_900
        parts.tm_mon = number(match.2) - 1
        parts.tm_mday = number(match.3)
        parts.tm_hour = number(match.4)
        parts.tm_min = number(match.5)
        parts.tm_sec = number(match.6)
        var seconds = timegm(&parts)
        if let sign = match.8, let hours = match.9, let minutes = match.10 {
            let offset = Int(number(hours)) * 3_600 + Int(number(minutes)) * 60
            seconds -= sign == "-" ? -offset : offset
        }
        let fraction = ((match.7.map(String.init) ?? "") + "000000").prefix(6)
        let expected = Int64(seconds) * 1_000_000 + (Int64(fraction) ?? -1)
        try require(time.microseconds == expected, "'\(text)' is \(expected)")
    }

    private static func read(_ text: String, _ reading: TimeReading) throws {
        let found: Int64
        do throws(TimeReadingError) {
            found = try Array(text.utf8).withUnsafeBytesOfTime(reading)
        } catch {
            return try require(Timestamp(text) == nil, "every RFC 3339 time is read")
        }
        try require(Timestamp.ledgerYears.contains(found), "a ledger holds it")
        if let time = Timestamp(text) { try require(found == time.microseconds, "both read alike") }
    }
}

extension [UInt8] {
    fileprivate func withUnsafeBytesOfTime(
        _ reading: TimeReading
    ) throws(TimeReadingError) -> Int64 {
        let result = withUnsafeBytes { bytes -> Result<Int64, TimeReadingError> in
            do throws(TimeReadingError) {
                return .success(try reading.microseconds(of: bytes))
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }
}
