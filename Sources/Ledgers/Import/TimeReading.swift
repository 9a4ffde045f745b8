package import Foundation
internal import ProjectionKit

/// How the times of an import are read.
package struct TimeReading: Sendable {
    /// What numbers count since 1970.
    package enum Unit: String, CaseIterable, Sendable {
        case seconds = "s"
        case milliseconds = "ms"
        case microseconds = "us"
        case nanoseconds = "ns"

        /// How far the decimal point moves to make it microseconds.
        fileprivate var shift: Int {
            switch self {
            case .seconds: 6
            case .milliseconds: 3
            case .microseconds: 0
            case .nanoseconds: -3
            }
        }
    }

    /// The zone of times without an offset; nil where they are refused.
    package var zone: TimeZone?
    /// The unit of numbers; nil where their magnitude tells it.
    package var unit: Unit?

    /// Times as most exports have them.
    package init(zone: TimeZone? = nil, unit: Unit? = nil) {
        self.zone = zone
        self.unit = unit
    }

    /// A zone by its IANA name, or by its offset, such as `+02:00`; nil for anything else, also for
    /// an abbreviation such as `BST`.
    package static func zone(named name: String) -> TimeZone? {
        var text = name
        let seconds = text.withUTF8 { bytes -> Int? in
            var scan = TimeScan(UnsafeRawBufferPointer(bytes))
            guard let seconds = scan.offset(), scan.isAtEnd else { return nil }
            return seconds
        }
        if let seconds { return TimeZone(secondsFromGMT: seconds) }
        // Others without a slash are ICU's abbreviations, and mean zones that few expect: its BST is
        // Bangladesh's.
        guard namesWithoutSlash.contains(name) || name.contains("/"),
            !name.hasPrefix("SystemV/")
        else { return nil }
        return TimeZone(identifier: name)
    }

    /// The names of the IANA time zone database that have no slash.
    private static let namesWithoutSlash: Set<String> = [
        "CET", "CST6CDT", "Cuba", "EET", "EST", "EST5EDT", "Egypt", "Eire", "GB", "GB-Eire", "GMT",
        "GMT+0", "GMT-0", "GMT0", "Greenwich", "HST", "Hongkong", "Iceland", "Iran", "Israel",
        "Jamaica", "Japan", "Kwajalein", "Libya", "MET", "MST", "MST7MDT", "NZ", "NZ-CHAT",
        "Navajo",
        "PRC", "PST8PDT", "Poland", "Portugal", "ROC", "ROK", "Singapore", "Turkey", "UCT", "UTC",
        "Universal", "W-SU", "WET", "Zulu",
    ]

    /// What a text says, in microseconds since 1970.
    ///
    /// - Parameter text: The bytes, without quotes.
    /// - Returns: A time of the years 0001 to 9999.
    /// - Throws: ``TimeReadingError`` where it cannot be told which instant it is.
    func microseconds(of text: UnsafeRawBufferPointer) throws(TimeReadingError) -> Int64 {
        if let time = Timestamp(rfc3339: text) { return time.microseconds }
        if let number = EpochNumber(text) { return try microseconds(of: number) }
        var scan = TimeScan(text)
        guard let local = scan.local() else { throw .unknown }
        var seconds = local.seconds
        if let offset = local.offset {
            seconds -= Int64(offset)
        } else {
            guard let zone else { throw local.isDay ? .day : .local }
            seconds = Self.instant(of: seconds, in: zone)
        }
        guard (-62_135_596_800..<253_402_300_800).contains(seconds) else { throw .outside }
        return seconds * 1_000_000 + Int64(local.fraction)
    }

    private func microseconds(of number: EpochNumber) throws(TimeReadingError) -> Int64 {
        if unit == nil, number.looksLikeDate { throw .dateDigits }
        let unit = unit ?? number.unit
        guard let value = number.shifted(by: unit.shift), Timestamp.ledgerYears.contains(value)
        else {
            throw .outside
        }
        return value
    }

    /// The instant of a local time.
    ///
    /// Of two, as when a clock is set back, it is the earlier one. Where there is none, as when a
    /// clock is set forward, it counts with the offset of before.
    private static func instant(of local: Int64, in zone: TimeZone) -> Int64 {
        func offset(at instant: Int64) -> Int64 {
            Int64(zone.secondsFromGMT(for: Date(timeIntervalSince1970: TimeInterval(instant))))
        }
        let (before, after) = (offset(at: local - 86_400), offset(at: local + 86_400))
        let candidates = [local - before, local - after].filter { offset(at: $0) == local - $0 }
        return candidates.min() ?? local - before
    }
}

/// Why a text is not an instant.
enum TimeReadingError: Error {
    case unknown
    case local
    case day
    case outside
    case dateDigits

    /// A clause about a field.
    func reason(_ name: String) -> String {
        switch self {
        case .unknown:
            "\(name) is neither an RFC 3339 time, such as 2026-03-01T09:30:00.125Z, nor a number of"
                + " seconds, ms, µs or ns since 1970"
        case .local:
            "\(name) has no offset from UTC; say where it counts, as in '--time-zone Europe/Berlin'"
                + " or '--time-zone UTC'"
        case .day:
            "\(name) is a day without a time; '--time-zone UTC' takes it as its midnight there"
        case .outside: "\(name) is outside the years 0001 to 9999"
        case .dateDigits:
            "\(name) is digits that may be a date or a count since 1970; '--time-unit s' or another"
                + " unit takes it as a count"
        }
    }
}

/// A decimal number, kept as it is written.
private struct EpochNumber {
    private var isNegative = false
    /// Without zeros in front.
    private var digits: [UInt8] = []
    /// How many of the digits stand before the point; may be negative or more than there are.
    private var point = 0
    private var length = 0
    private var isWhole = true

    init?(_ text: UnsafeRawBufferPointer) {
        var rest = text[...]
        if rest.first == UInt8(ascii: "-") {
            isNegative = true
            rest = rest.dropFirst()
        }
        let whole = rest.prefix { (48...57).contains($0) }
        guard !whole.isEmpty, text.count <= 64 else { return nil }
        rest = rest.dropFirst(whole.count)
        digits = Array(whole)
        length = whole.count
        point = whole.count
        if rest.first == UInt8(ascii: ".") {
            let fraction = rest.dropFirst().prefix { (48...57).contains($0) }
            guard !fraction.isEmpty else { return nil }
            digits += fraction
            rest = rest.dropFirst(fraction.count + 1)
            isWhole = false
        }
        if rest.first == UInt8(ascii: "e") || rest.first == UInt8(ascii: "E") {
            guard let exponent = Int(String(decoding: rest.dropFirst(), as: UTF8.self)),
                (-999...999).contains(exponent)
            else { return nil }
            point += exponent
            isWhole = false
            rest = rest.dropFirst(rest.count)
        }
        guard rest.isEmpty else { return nil }
        let zeros = digits.prefix { $0 == 48 }.count
        digits.removeFirst(zeros)
        point -= zeros
    }

    /// By magnitude: seconds until the year 5138, and so on by thousands.
    var unit: TimeReading.Unit {
        switch point {
        case ...11: .seconds
        case ...14: .milliseconds
        case ...17: .microseconds
        default: .nanoseconds
        }
    }

    /// Whether it reads as `20260301` or `20260301093000`.
    var looksLikeDate: Bool {
        guard isWhole, !isNegative, length == 8 || length == 14, digits.count == length else {
            return false
        }
        func number(_ range: Range<Int>) -> Int {
            digits[range].reduce(0) { $0 * 10 + Int($1) - 48 }
        }
        return (1900...2100).contains(number(0..<4)) && (1...12).contains(number(4..<6))
            && (1...31).contains(number(6..<8))
    }

    /// The whole part after the point was moved, rounded down; nil where it is too large.
    func shifted(by shift: Int) -> Int64? {
        let end = point + shift
        guard !digits.isEmpty else { return 0 }
        guard end <= 18 else { return nil }
        var value: Int64 = 0
        for index in 0..<max(0, end) {
            value = value * 10 + (index < digits.count ? Int64(digits[index]) - 48 : 0)
        }
        let isCut = digits.indices.contains { $0 >= end && digits[$0] != 48 }
        return isNegative ? -value - (isCut ? 1 : 0) : value
    }
}

/// A time as it is written, in more ways than RFC 3339 has.
private struct TimeScan {
    private let text: UnsafeRawBufferPointer
    private var index = 0

    struct Local {
        /// As if it were UTC.
        var seconds: Int64
        /// Microseconds.
        var fraction = 0
        var offset: Int?
        var isDay = false
    }

    init(_ text: UnsafeRawBufferPointer) {
        self.text = text
    }

    var isAtEnd: Bool { index == text.count }

    mutating func local() -> Local? {
        guard let year = number(4), skip("-"), let month = number(2), skip("-"),
            let day = number(2), let date = Day(year: year, month: month, day: day)
        else { return nil }
        var local = Local(seconds: Int64(date.daysSince1970) * 86_400)
        guard !isAtEnd else {
            local.isDay = true
            return local
        }
        guard skip("T") || skip("t") || skip(" ") || skip("_") else { return nil }
        guard let hour = number(2), hour < 24, skip(":"), let minute = number(2), minute < 60 else {
            return nil
        }
        var second = 0
        if skip(":") {
            guard let written = number(2), written <= 60 else { return nil }
            second = written
            if skip(".") || skip(",") {
                guard let fraction = fraction() else { return nil }
                local.fraction = fraction
            }
        }
        local.seconds += Int64(hour * 3_600 + minute * 60 + second)
        _ = skip(" ")
        if !isAtEnd {
            guard let offset = offset() else { return nil }
            local.offset = offset
            skipZoneName()
        }
        return isAtEnd ? local : nil
    }

    /// `Z`, `UTC`, `GMT`, `+02`, `+0200`, `+02:00`, in seconds.
    mutating func offset() -> Int? {
        for name in ["Z", "z", "UTC", "GMT"] where text[index...].elementsEqual(name.utf8) {
            index += name.utf8.count
            return 0
        }
        if skip("Z") || skip("z") { return 0 }
        let sign = index < text.count && text[index] == UInt8(ascii: "-") ? -1 : 1
        guard skip("+") || skip("-"), let hours = number(2), hours < 24 else { return nil }
        var seconds = hours * 3_600
        let hasColon = skip(":")
        if let minutes = number(2) {
            guard minutes < 60 else { return nil }
            seconds += minutes * 60
        } else if hasColon {
            return nil
        }
        return sign * seconds
    }

    /// `[Europe/Berlin]` behind an offset says nothing more.
    private mutating func skipZoneName() {
        guard index < text.count, text[index] == UInt8(ascii: "["), text.last == UInt8(ascii: "]")
        else { return }
        index = text.count
    }

    private mutating func number(_ count: Int) -> Int? {
        guard index + count <= text.count else { return nil }
        var value = 0
        for byte in text[index..<(index + count)] {
            guard (48...57).contains(byte) else { return nil }
            value = value * 10 + Int(byte) - 48
        }
        index += count
        return value
    }

    private mutating func fraction() -> Int? {
        var value = 0
        var digits = 0
        while index < text.count, (48...57).contains(text[index]) {
            if digits < 6 { value = value * 10 + Int(text[index]) - 48 }
            digits += 1
            index += 1
        }
        guard digits > 0 else { return nil }
        for _ in 0..<max(0, 6 - digits) { value *= 10 }
        return value
    }

    private mutating func skip(_ character: Unicode.Scalar) -> Bool {
        guard index < text.count, text[index] == UInt8(ascii: character) else { return false }
        index += 1
        return true
    }
}
