internal import Glibc

/// The texts in the keys of a table.
///
/// PostgreSQL compares the bytes of two texts. Swift takes two spellings of an accented letter for the
/// same. So keys that are equal in Swift are the same key only where their texts have the same bytes.
@usableFromInline
final class KeyTexts: Sendable {
    private struct Part: Sendable {
        let offset: Int
        let areSame: @Sendable (UnsafeRawPointer, UnsafeRawPointer) -> Bool
        let hash: @Sendable (UnsafeRawPointer, inout Hasher) -> Void
    }

    private let parts: [Part]

    private init(_ parts: [Part]) {
        self.parts = parts
    }

    /// The texts in a type of keys; nil where it has none that are seen.
    ///
    /// They are seen in structs, in optionals and in arrays, and not in enums and classes.
    @usableFromInline
    static func of<Key>(_: Key.Type) -> KeyTexts? {
        guard let key = StoredProperty.whole(Key.self) else { return nil }
        var parts: [Part] = []
        gather(key, at: 0, &parts)
        return parts.isEmpty ? nil : KeyTexts(parts)
    }

    /// Whether the texts of two keys have the same bytes.
    @usableFromInline
    func areSame<Key>(_ left: Key, _ right: Key) -> Bool {
        withUnsafePointer(to: left) { left in
            withUnsafePointer(to: right) { right in
                let (left, right) = (UnsafeRawPointer(left), UnsafeRawPointer(right))
                return parts.allSatisfy { $0.areSame(left + $0.offset, right + $0.offset) }
            }
        }
    }

    /// Takes up the bytes: what is the same for Swift alone must not share a hash.
    @usableFromInline
    func hash<Key>(_ key: Key, into hasher: inout Hasher) {
        withUnsafePointer(to: key) { key in
            for part in parts { part.hash(UnsafeRawPointer(key) + part.offset, &hasher) }
        }
    }

    /// Whether two texts have the same bytes.
    @usableFromInline
    static func areSame(_ left: String, _ right: String) -> Bool {
        let isSame = left.utf8.withContiguousStorageIfAvailable { left in
            right.utf8.withContiguousStorageIfAvailable { right in
                guard let start = left.baseAddress, let other = right.baseAddress else {
                    return left.count == right.count
                }
                return left.count == right.count && memcmp(start, other, left.count) == 0
            }
        }
        return (isSame ?? nil) ?? left.utf8.elementsEqual(right.utf8)
    }

    /// The hash of a text's bytes.
    @usableFromInline
    static func hash(_ text: String) -> Int {
        var hasher = Hasher()
        text.hashBytes(into: &hasher)
        return hasher.finalize()
    }

    private static func gather(_ property: StoredProperty, at start: Int, _ parts: inout [Part]) {
        let offset = start + property.offset
        if let type = property.type as? any TextBytes.Type {
            return parts.append(part(type, at: offset))
        }
        for inner in property.properties { gather(inner, at: offset, &parts) }
    }

    private static func part<Value: TextBytes>(_: Value.Type, at offset: Int) -> Part {
        Part(
            offset: offset,
            areSame: { left, right in
                left.assumingMemoryBound(to: Value.self).pointee.hasBytes(
                    of: right.assumingMemoryBound(to: Value.self).pointee
                )
            },
            hash: { value, hasher in
                value.assumingMemoryBound(to: Value.self).pointee.hashBytes(into: &hasher)
            }
        )
    }
}

/// A text, or what holds texts.
private protocol TextBytes: Sendable {
    /// Whether the bytes are those of another one, which is equal in Swift.
    func hasBytes(of other: Self) -> Bool

    /// Takes up the bytes.
    func hashBytes(into hasher: inout Hasher)
}

extension String: TextBytes {
    fileprivate func hasBytes(of other: String) -> Bool { KeyTexts.areSame(self, other) }

    fileprivate func hashBytes(into hasher: inout Hasher) {
        let isDone: Void? = utf8.withContiguousStorageIfAvailable {
            hasher.combine(bytes: UnsafeRawBufferPointer($0))
        }
        if isDone == nil { for byte in utf8 { hasher.combine(byte) } }
        // No text has this byte: where one ends is a part of it.
        hasher.combine(UInt8.max)
    }
}

extension Substring: TextBytes {
    fileprivate func hasBytes(of other: Substring) -> Bool { utf8.elementsEqual(other.utf8) }

    fileprivate func hashBytes(into hasher: inout Hasher) {
        String(self).hashBytes(into: &hasher)
    }
}

extension Character: TextBytes {
    fileprivate func hasBytes(of other: Character) -> Bool { utf8.elementsEqual(other.utf8) }

    fileprivate func hashBytes(into hasher: inout Hasher) {
        String(self).hashBytes(into: &hasher)
    }
}

extension Optional: TextBytes where Wrapped: TextBytes {
    fileprivate func hasBytes(of other: Wrapped?) -> Bool {
        guard let self, let other else { return (self == nil) == (other == nil) }
        return self.hasBytes(of: other)
    }

    fileprivate func hashBytes(into hasher: inout Hasher) { self?.hashBytes(into: &hasher) }
}

extension Array: TextBytes where Element: TextBytes {
    fileprivate func hasBytes(of other: [Element]) -> Bool {
        zip(self, other).allSatisfy { $0.hasBytes(of: $1) }
    }

    fileprivate func hashBytes(into hasher: inout Hasher) {
        for element in self { element.hashBytes(into: &hasher) }
    }
}
