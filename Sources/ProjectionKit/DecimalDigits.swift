public import FoundationEssentials

extension Decimal: ColumnValue {
    /// `numeric`.
    public static var columnTypes: [ColumnType] { [.numeric] }

    /// Appends the number in groups of four decimal digits.
    ///
    /// Source: `numeric_recv` in PostgreSQL's `numeric.c`.
    public func encode(into buffer: inout RowBuffer, as type: ColumnType) throws {
        guard !isNaN else {
            buffer.append(Int32(8))
            for word in [UInt16(0), 0, 0xc000, 0] { buffer.append(word) }
            return
        }
        let number = DecimalDigits(self)
        buffer.append(Int32(8 + 2 * number.groups.count))
        buffer.append(Int16(number.groups.count))
        buffer.append(Int16(number.weight))
        buffer.append(UInt16(number.isNegative ? 0x4000 : 0))
        buffer.append(Int16(number.scale))
        for group in number.groups { buffer.append(group) }
    }

    /// Reads the number exactly.
    ///
    /// - Throws: ``ColumnError/unreadable(_:)`` also for what PostgreSQL can hold and a `Decimal`
    ///   cannot: more than 38 digits, and infinity.
    public init(field: UnsafeRawBufferPointer?, as type: ColumnType) throws {
        var reader = try FieldReader(field, as: type)
        let count: Int16 = try reader.number()
        let weight: Int16 = try reader.number()
        let sign: UInt16 = try reader.number()
        let _: Int16 = try reader.number()
        guard count >= 0, [0, 0x4000].contains(sign) || sign == 0xc000 && count == 0 else {
            throw ColumnError.unreadable(type)
        }
        var groups: [Int16] = []
        for _ in 0..<count { groups.append(try reader.number()) }
        try reader.end()
        guard sign != 0xc000 else {
            self = .nan
            return
        }
        let value = DecimalDigits.value(isNegative: sign != 0, weight: Int(weight), groups: groups)
        guard let value else { throw ColumnError.unreadable(type) }
        self = value
    }
}

/// A decimal number as groups of four digits, the way PostgreSQL stores `numeric`.
struct DecimalDigits {
    let isNegative: Bool
    /// Digits behind the point.
    let scale: Int
    /// The power of 10,000 of the first group.
    let weight: Int
    let groups: [Int16]

    init(_ value: Decimal) {
        // The plain notation that `description` gives: `-12.5`, never an exponent.
        let text = value.description
        isNegative = text.hasPrefix("-")
        let parts = text.drop { $0 == "-" }.split(separator: ".", omittingEmptySubsequences: false)
        var whole = Array(parts[0].utf8)
        var fraction = parts.count > 1 ? Array(parts[1].utf8) : []
        scale = fraction.count
        whole = Array(repeating: 48, count: (4 - whole.count % 4) % 4) + whole
        fraction += Array(repeating: 48, count: (4 - fraction.count % 4) % 4)
        var groups = stride(from: 0, to: whole.count + fraction.count, by: 4).map { start in
            (whole + fraction)[start..<(start + 4)].reduce(Int16(0)) { $0 * 10 + Int16($1 - 48) }
        }
        var weight = whole.count / 4 - 1
        while groups.first == 0 {
            groups.removeFirst()
            weight -= 1
        }
        while groups.last == 0 { groups.removeLast() }
        self.groups = groups
        self.weight = groups.isEmpty ? 0 : weight
    }
    /// Makes the number that groups of digits stand for.
    ///
    /// - Parameters:
    ///   - isNegative: Its sign.
    ///   - weight: The power of 10,000 of the first group.
    ///   - groups: Its digits.
    /// - Returns: The number; nil when a `Decimal` cannot hold it exactly.
    static func value(isNegative: Bool, weight: Int, groups: [Int16]) -> Decimal? {
        var significand: UInt128 = 0
        var exponent = 4 * (weight + 1)
        // Zeros at the end are kept back: they need not fit when nothing follows them.
        var zeros = 0
        for group in groups {
            guard (0...9_999).contains(group) else { return nil }
            for power in [1_000, 100, 10, 1] as [Int16] {
                let digit = UInt128(group / power % 10)
                exponent -= 1
                zeros += 1
                guard digit != 0 else { continue }
                for _ in 0..<zeros {
                    let (tenfold, overflow) = significand.multipliedReportingOverflow(by: 10)
                    guard !overflow else { return nil }
                    significand = tenfold
                }
                let (sum, overflow) = significand.addingReportingOverflow(digit)
                guard !overflow else { return nil }
                significand = sum
                zeros = 0
            }
        }
        // Zero with a sign would be Decimal's NaN.
        guard significand != 0 else { return 0 }
        exponent += zeros
        guard (-128...127).contains(exponent) else { return nil }
        let high = Decimal(UInt64(truncatingIfNeeded: significand >> 64))
        let low = Decimal(UInt64(truncatingIfNeeded: significand))
        return Decimal(
            sign: isNegative ? .minus : .plus,
            exponent: exponent,
            significand: high * (Decimal(UInt64.max) + 1) + low
        )
    }
}
