/// A point in time, to the microsecond: what `timestamptz` and `timestamp` columns hold.
public struct Timestamp: Hashable, Comparable, Sendable {
    /// Microseconds since 1970-01-01T00:00:00Z.
    public var microseconds: Int64

    /// Makes a point in time of microseconds since 1970-01-01T00:00:00Z.
    @inlinable
    public init(microseconds: Int64) {
        self.microseconds = microseconds
    }

    /// Makes a point in time of milliseconds since 1970-01-01T00:00:00Z.
    @inlinable
    public init(milliseconds: Int64) {
        microseconds = milliseconds * 1_000
    }

    /// Milliseconds since 1970-01-01T00:00:00Z, rounded down.
    @inlinable
    public var milliseconds: Int64 {
        microseconds / 1_000 - (microseconds % 1_000 < 0 ? 1 : 0)
    }

    /// Microseconds of the years 0001 to 9999: the times that a ledger holds.
    package static let ledgerYears: ClosedRange<Int64> =
        -62_135_596_800_000_000...253_402_300_799_999_999

    /// The calendar day in UTC.
    @inlinable
    public var day: Day {
        let perDay: Int64 = 86_400_000_000
        let days = microseconds / perDay
        return Day(daysSince1970: Int32(microseconds % perDay < 0 ? days - 1 : days))
    }

    /// Whether `left` is the earlier one.
    @inlinable
    public static func < (left: Timestamp, right: Timestamp) -> Bool {
        left.microseconds < right.microseconds
    }
}

/// A calendar day, without a time zone: what `date` columns hold.
public struct Day: Hashable, Comparable, Sendable {
    /// Days since 1970-01-01.
    public var daysSince1970: Int32

    /// Makes a day of its distance from 1970-01-01.
    @inlinable
    public init(daysSince1970: Int32) {
        self.daysSince1970 = daysSince1970
    }

    /// Makes a day of the proleptic Gregorian calendar; nil when there is no such day.
    ///
    /// - Parameters:
    ///   - year: 1 to 9999.
    ///   - month: 1 to 12.
    ///   - day: 1 to the month's last.
    public init?(year: Int, month: Int, day: Int) {
        guard (1...9_999).contains(year), (1...12).contains(month),
            (1...Day.lastDay(ofMonth: month, year: year)).contains(day)
        else { return nil }
        // Days since 1970 by counting from 1 March, so that the leap day comes last
        // (H. Hinnant, "chrono-compatible low-level date algorithms").
        let shifted = month > 2 ? year : year - 1
        let era = shifted / 400
        let yearOfEra = shifted - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        daysSince1970 = Int32(era * 146_097 + dayOfEra - 719_468)
    }

    /// Year, month (1 to 12) and day (1 to 31) of the proleptic Gregorian calendar.
    public var components: (year: Int, month: Int, day: Int) {
        let shifted = Int(daysSince1970) + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra =
            (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        return (year, month, dayOfYear - (153 * shiftedMonth + 2) / 5 + 1)
    }

    /// Whether `left` is the earlier one.
    @inlinable
    public static func < (left: Day, right: Day) -> Bool {
        left.daysSince1970 < right.daysSince1970
    }

    private static func lastDay(ofMonth month: Int, year: Int) -> Int {
        switch month {
        case 2: (year % 4 == 0 && year % 100 != 0) || year % 400 == 0 ? 29 : 28
        case 4, 6, 9, 11: 30
        default: 31
        }
    }
}

extension Day: CustomStringConvertible {
    /// `2026-03-01`.
    public var description: String {
        let (year, month, day) = components
        return "\(padded(year, 4))-\(padded(month, 2))-\(padded(day, 2))"
    }
}

extension Timestamp: CustomStringConvertible {
    /// RFC 3339 in UTC, to the millisecond, or to the microsecond where that is needed.
    public var description: String {
        let remainder = microseconds % 86_400_000_000
        let ofDay = remainder < 0 ? remainder + 86_400_000_000 : remainder
        let (seconds, fraction) = (Int(ofDay / 1_000_000), Int(ofDay % 1_000_000))
        let clock =
            "\(padded(seconds / 3_600, 2)):\(padded(seconds / 60 % 60, 2)):\(padded(seconds % 60, 2))"
        let digits = fraction % 1_000 == 0 ? padded(fraction / 1_000, 3) : padded(fraction, 6)
        return "\(day)T\(clock).\(digits)Z"
    }
}

extension Timestamp {
    /// Reads an RFC 3339 time, such as `2026-03-01T09:30:00.125+01:00`.
    ///
    /// Years 0001 to 9999, also after the offset is taken off; nil for anything else. Digits beyond
    /// the microsecond are cut off. A leap second (`:60`) counts as the first instant of the next
    /// minute, as PostgreSQL reads it.
    ///
    /// - Parameter text: The bytes, with nothing around them.
    public init?(rfc3339 text: UnsafeRawBufferPointer) {
        var reader = TimeReader(text: text)
        guard let day = reader.day(), reader.skip(anyOf: "Tt "), let hour = reader.number(2),
            reader.skip(anyOf: ":"), let minute = reader.number(2), reader.skip(anyOf: ":"),
            let second = reader.number(2), hour < 24, minute < 60, second <= 60,
            let fraction = reader.microseconds(), let offset = reader.offsetSeconds(),
            reader.isAtEnd
        else { return nil }
        let seconds = Int64(day.daysSince1970) * 86_400 + Int64(hour * 3_600 + minute * 60 + second)
        let inUTC = seconds - Int64(offset)
        guard (-62_135_596_800..<253_402_300_800).contains(inUTC) else { return nil }
        microseconds = inUTC * 1_000_000 + Int64(fraction)
    }

    /// Reads an RFC 3339 time; nil when it is not one.
    public init?(_ text: String) {
        var text = text
        guard let value = text.withUTF8({ Timestamp(rfc3339: UnsafeRawBufferPointer($0)) }) else {
            return nil
        }
        self = value
    }
}

extension Day {
    /// Reads `2026-03-01`; nil when it is not a day.
    ///
    /// - Parameter text: The bytes, with nothing around them.
    public init?(iso8601 text: UnsafeRawBufferPointer) {
        var reader = TimeReader(text: text)
        guard let day = reader.day(), reader.isAtEnd else { return nil }
        self = day
    }
}

private struct TimeReader {
    let text: UnsafeRawBufferPointer
    var index = 0

    init(text: UnsafeRawBufferPointer) {
        self.text = text
    }

    var isAtEnd: Bool { index == text.count }

    mutating func number(_ digits: Int) -> Int? {
        guard index + digits <= text.count else { return nil }
        var value = 0
        for _ in 0..<digits {
            guard let digit = nextDigit() else { return nil }
            value = value * 10 + digit
        }
        return value
    }

    mutating func nextDigit() -> Int? {
        guard index < text.count, text[index] >= 48, text[index] <= 57 else { return nil }
        index += 1
        return Int(text[index - 1]) - 48
    }

    mutating func skip(anyOf characters: StaticString) -> Bool {
        guard index < text.count else { return false }
        let byte = text[index]
        let matches = characters.withUTF8Buffer { $0.contains(byte) }
        if matches { index += 1 }
        return matches
    }

    mutating func day() -> Day? {
        guard let year = number(4), skip(anyOf: "-"), let month = number(2), skip(anyOf: "-"),
            let day = number(2)
        else { return nil }
        return Day(year: year, month: month, day: day)
    }

    mutating func microseconds() -> Int? {
        guard skip(anyOf: ".") else { return 0 }
        guard var value = nextDigit() else { return nil }
        var digits = 1
        while let digit = nextDigit() {
            if digits < 6 { value = value * 10 + digit }
            digits += 1
        }
        while digits < 6 {
            value *= 10
            digits += 1
        }
        return value
    }

    mutating func offsetSeconds() -> Int? {
        if skip(anyOf: "Zz") { return 0 }
        let sign = index < text.count && text[index] == UInt8(ascii: "-") ? -1 : 1
        guard skip(anyOf: "+-"), let hours = number(2), skip(anyOf: ":"), let minutes = number(2),
            hours < 24, minutes < 60
        else { return nil }
        return sign * (hours * 3_600 + minutes * 60)
    }
}

private func padded(_ number: Int, _ digits: Int) -> String {
    let text = String(number.magnitude)
    let zeros = String(repeating: "0", count: max(0, digits - text.utf8.count))
    return (number < 0 ? "-" : "") + zeros + text
}
