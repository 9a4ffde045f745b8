internal import Foundation

/// Results as JSON: one line, sorted keys, names that are stable.
///
/// A value that is not there has no key.
enum JSONOutput {
    static func text(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }

    /// One object when one projection was named, otherwise an array.
    static func list(_ objects: [String], asArray: Bool) -> String {
        guard !asArray, let only = objects.first, objects.count == 1 else {
            return "[" + objects.joined(separator: ",") + "]"
        }
        return only
    }
}
