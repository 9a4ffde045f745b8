internal import ProjectionKit

// UUIDv7 as RFC 9562 section 5.7 lays it out: 48 bits of milliseconds, the version (4 bits), 12
// bits, the variant (2 bits), 62 bits. The 12 + 62 = 74 free bits are the ledger's to fill: either
// a counter, or a line number followed by a hash.
//
// Times before 1970 keep the low 48 bits of their two's complement: inside a bucket, which never
// reaches across 1970, those ascend with time as well.

extension EventID {
    /// Milliseconds since 1970-01-01 that an id can carry: those of the years 0001 to 9999.
    static let times: ClosedRange<Int64> = -62_135_596_800_000...253_402_300_799_999

    /// The UUIDv7 of a time, in milliseconds since 1970, with the 74 free bits given as 12 and 62.
    static func version7(milliseconds: Int64, upper: UInt64, lower: UInt64) -> EventID {
        EventID(
            high: UInt64(bitPattern: milliseconds) << 16 | 0x7000 | (upper & 0x0fff),
            low: 1 << 63 | (lower & 0x3fff_ffff_ffff_ffff)
        )
    }

    /// The UUIDv7 of a time, in milliseconds since 1970, a number that orders the events of a
    /// millisecond (40 bits), and a hash that tells apart events of equal number (its low 34 bits).
    static func version7(milliseconds: Int64, number: UInt64, hash: UInt64) -> EventID {
        version7(
            milliseconds: milliseconds,
            upper: number >> 28,
            lower: (number & 0x0fff_ffff) << 34 | (hash & 0x3_ffff_ffff)
        )
    }

    /// Whether it has the form of a UUIDv7.
    var isVersion7: Bool { high & 0xf000 == 0x7000 && low >> 62 == 0b10 }

    /// The time that a UUIDv7 carries: milliseconds since 1970, taken for one of 1970 or later.
    var milliseconds: Int64 { Int64(high >> 16) }

    /// The least id of UUIDv7's form that is greater; nil when there is none.
    var nextVersion7: EventID? {
        let firstLow: UInt64 = 0x8000_0000_0000_0000
        let lastLow: UInt64 = 0xbfff_ffff_ffff_ffff
        switch high & 0xf000 {
        case ..<0x7000:
            return EventID(high: high & ~0xffff | 0x7000, low: firstLow)
        case 0x7000 where low < firstLow:
            return EventID(high: high, low: firstLow)
        case 0x7000 where low < lastLow:
            return EventID(high: high, low: low + 1)
        case 0x7000 where high & 0x0fff < 0x0fff:
            return EventID(high: high + 1, low: firstLow)
        default:
            let (millisecond, overflow) = (high & ~0xffff).addingReportingOverflow(0x1_0000)
            return overflow ? nil : EventID(high: millisecond | 0x7000, low: firstLow)
        }
    }
}
