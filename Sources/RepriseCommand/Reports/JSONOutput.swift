internal import Foundation
internal import Wording

/// Results as JSON: one line, sorted keys, names that are stable.
///
/// A value that is not there has no key.
enum JSONOutput {
    static func text(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return escaped(String(decoding: try encoder.encode(value), as: UTF8.self))
    }

    /// The same JSON, with what people cannot see as JSON's own escapes.
    ///
    /// The encoder writes most of it as it is; all of it stands inside of strings.
    private static func escaped(_ text: String) -> String {
        var escaped = ""
        for scalar in text.unicodeScalars {
            guard !TextForPeople.isVisible(scalar) else {
                escaped.unicodeScalars.append(scalar)
                continue
            }
            for unit in String(scalar).utf16 {
                let digits = String(unit, radix: 16)
                escaped += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            }
        }
        return escaped
    }

    /// One object when one projection was named, otherwise an array.
    static func list(_ objects: [String], asArray: Bool) -> String {
        guard !asArray, let only = objects.first, objects.count == 1 else {
            return "[" + objects.joined(separator: ",") + "]"
        }
        return only
    }
}
