import ProjectionKit
import TestSupport

/// Makes random JSON objects: known keys in plain and escaped spelling, white space anywhere, nested
/// values whose strings hold every structural character.
struct JSONDice {
    private var random: SeededRandom

    init(seed: UInt64) {
        random = SeededRandom(seed: seed)
    }

    /// The keys at the top, each with the question whether it is there.
    static let accessors: [(key: String, get: @Sendable (borrowing Payload) throws -> Bool)] = [
        ("a", { try $0.contains("a") }),
        ("key", { try $0.contains("key") }),
        ("a longer key", { try $0.contains("a longer key") }),
        ("quo\"te", { try $0.contains("quo\"te") }),
        ("back\\slash", { try $0.contains("back\\slash") }),
        ("Zoë", { try $0.contains("Zoë") }),
        ("", { try $0.contains("") }),
    ]

    /// What stands under a key.
    enum Found: Equatable {
        case text(String)
        case other
    }

    /// Reads a key's text; nil when the value is none.
    func read(_ key: String, _ payload: borrowing Payload) throws -> Found? {
        do {
            switch key {
            case "a": return .text(try payload.string("a"))
            case "key": return .text(try payload.string("key"))
            case "a longer key": return .text(try payload.string("a longer key"))
            case "Zoë": return .text(try payload.string("Zoë"))
            default: return .other
            }
        } catch is PayloadError {
            return nil
        }
    }

    /// An object, with each key once at most.
    mutating func object(depth: Int) -> String {
        let keys = Self.accessors.map(\.key).shuffled(using: &random)
            .prefix(Int.random(in: 0...Self.accessors.count, using: &random))
        let fields = keys.map { key in
            space + quoted(key) + space + ":" + space + value(depth: depth) + space
        }
        return space + "{" + (fields.isEmpty ? space : fields.joined(separator: ",")) + "}" + space
    }

    /// Changes, removes or repeats some bytes.
    mutating func damage(_ bytes: inout [UInt8]) {
        for _ in 0..<Int.random(in: 0...2, using: &random) where !bytes.isEmpty {
            let place = Int.random(in: 0..<bytes.count, using: &random)
            switch Int.random(in: 0..<4, using: &random) {
            case 0: bytes[place] = UInt8.random(in: 0...255, using: &random)
            case 1: bytes.remove(at: place)
            case 2: bytes.removeSubrange(place...)
            default:
                let marks = Array("{}[]:,\"\\ tfn0-".utf8)
                bytes.insert(marks[Int.random(in: 0..<marks.count, using: &random)], at: place)
            }
        }
    }

    private mutating func value(depth: Int) -> String {
        switch Int.random(in: 0..<(depth > 0 ? 9 : 6), using: &random) {
        case 0: return "null"
        case 1: return Bool.random(using: &random) ? "true" : "false"
        case 2: return "\(Int64.random(in: -1_000...1_000, using: &random))"
        case 3: return "-0.25e-3"
        case 4, 5: return quoted(text)
        case 6, 7: return object(depth: depth - 1)
        default:
            let elements = (0..<Int.random(in: 0...3, using: &random)).map { _ in
                value(depth: depth - 1)
            }
            return "[" + space + elements.joined(separator: space + "," + space) + "]"
        }
    }

    private var text: String {
        mutating get {
            let parts = [
                "{", "}", "[", "]", ":", ",", "\"", "\\", "é", "a", " ", "\n", "null", "\u{1F600}",
            ]
            return (0..<Int.random(in: 0...12, using: &random)).map { _ in
                parts[Int.random(in: 0..<parts.count, using: &random)]
            }.joined()
        }
    }

    /// White space, mostly none.
    private var space: String {
        mutating get {
            let choices = ["", "", "", " ", "\n", "\t \r\n"]
            return choices[Int.random(in: 0..<choices.count, using: &random)]
        }
    }

    private mutating func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            let mustEscape = scalar == "\"" || scalar == "\\" || scalar.value < 0x20
            if mustEscape || Int.random(in: 0..<8, using: &random) == 0 {
                for unit in String(scalar).utf16 {
                    let digits = String(unit, radix: 16)
                    result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
                }
            } else {
                result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}
