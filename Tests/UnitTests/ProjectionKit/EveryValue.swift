import FoundationEssentials
import ProjectionKit
import TestSupport

/// A row with a value of every type, some of them behind padding.
struct EveryValue: TableRow, Equatable {
    enum Mood: String, ColumnEnum, CaseIterable {
        case calm
        case quoted = "it's \"so\""
    }

    var id: Int64
    var bool: Bool
    var int: Int
    var int2: Int16
    var maybe: Int64?
    var int4: Int32
    var float: Float
    var truth: Bool?
    var double: Double
    var decimal: Decimal
    var text: String
    var mood: Mood
    var json: JSONText
    var jsonb: JSONText?
    var bytes: [UInt8]
    var data: Data
    var uuid: UUID
    var eventID: UUIDWords
    var day: Day?
    var time: Timestamp
    var texts: [String]
    var numbers: [Int64]?
    var uuids: [UUID]

    var key: Int64 { id }
    var isCalm: Bool { mood == .calm }

    static let table = TableDefinition<EveryValue>("every_value", key: "id") {
        Column("calm", \.isCalm)
        Column("uuids", \.uuids)
        Column("id", \.id)
        Column("bool", \.bool)
        Column("int", \.int)
        Column("int2", \.int2)
        Column("maybe", \.maybe)
        Column("int4", \.int4)
        Column("float", \.float)
        Column("truth", \.truth)
        Column("double", \.double)
        Column("decimal", \.decimal)
        Column("text", \.text)
        Column("mood", \.mood)
        Column("json", \.json)
        Column("jsonb", \.jsonb)
        Column("bytes", \.bytes)
        Column("data", \.data)
        Column("uuid", \.uuid)
        Column("event_id", \.eventID)
        Column("day", \.day)
        Column("time", \.time)
        Column("texts", \.texts)
        Column("numbers", \.numbers)
    }

    static let types = table.columns.compactMap(\.value.types.first)
}

extension EveryValue {
    init(id: Int64, random: inout SeededRandom) {
        self.id = id
        bool = .random(using: &random)
        // Shifted, so that numbers of every magnitude come.
        int = Int(truncatingIfNeeded: random.next()) >> Int.random(in: 0..<64, using: &random)
        int2 = Int16(truncatingIfNeeded: random.next())
        maybe = Bool.random(using: &random) ? Int64(truncatingIfNeeded: random.next()) : nil
        int4 = Int32(truncatingIfNeeded: random.next())
        float = Float.random(in: -1e30...1e30, using: &random)
        truth = [true, false, nil].randomElement(using: &random) ?? nil
        double = Double.random(in: -1e300...1e300, using: &random)
        decimal = .random(using: &random)
        text = .random(using: &random)
        mood = Bool.random(using: &random) ? .calm : .quoted
        json = JSONText(.random(using: &random))
        jsonb = Bool.random(using: &random) ? JSONText(.random(using: &random)) : nil
        bytes = (0..<Int.random(in: 0...50, using: &random)).map { UInt8($0) }
        data = Data(bytes.reversed())
        eventID = UUIDWords(high: random.next(), low: random.next())
        uuid = UUIDWords(high: random.next(), low: random.next()).uuid
        let days = Int32.random(in: -2_440_588..<2_145_042_906, using: &random)
        day = Bool.random(using: &random) ? Day(daysSince1970: days) : nil
        time = Timestamp(
            microseconds: .random(in: -210_866_803_200_000_000...Int64.max, using: &random)
        )
        let count = Int.random(in: 0...5, using: &random)
        texts = (0..<count).map { _ in .random(using: &random) }
        numbers = count == 1 ? nil : (0..<count).map { Int64($0) << 60 }
        uuids = (0..<count).map { UUIDWords(high: UInt64($0), low: .max).uuid }
    }
}

extension Decimal {
    /// Up to 38 digits, from far behind the point to far before it.
    static func random(using random: inout SeededRandom) -> Decimal {
        let digits = (0..<Int.random(in: 1...38, using: &random)).map { _ in
            String(Int.random(in: 0...9, using: &random))
        }.joined()
        let sign = Bool.random(using: &random) ? "-" : ""
        let exponent = Int.random(in: -90...85, using: &random)
        return Decimal(string: "\(sign)\(digits)e\(exponent)") ?? .nan
    }
}

extension String {
    /// Characters of every length in UTF-8.
    static func random(using random: inout SeededRandom) -> String {
        var text = ""
        for _ in 0..<Int.random(in: 0...40, using: &random) {
            let bits = UInt32.random(in: 0..<21, using: &random)
            let greatest: UInt32 = Swift.min(0x10_ffff, 1 << bits)
            let value = UInt32.random(in: 1...greatest, using: &random)
            text.unicodeScalars.append(Unicode.Scalar(value) ?? "\\")
        }
        return text
    }
}
