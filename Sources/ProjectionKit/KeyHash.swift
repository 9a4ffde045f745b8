public import FoundationEssentials

/// The hash by which a ``Table`` finds rows.
///
/// Keys of the usual kinds are mixed by one multiplication of 64 by 64 bits, which costs a tenth of the
/// standard library's SipHash; all others go through their own `hash(into:)`. The seed differs from
/// process to process, as that of `Hasher` does, so that nobody can prepare keys that collide; the
/// order of a table's rows does not depend on it.
@usableFromInline
enum KeyHash {
    /// One for each factor.
    ///
    /// A key that made one factor zero would make the product zero, whatever the other is.
    /// `SWIFT_DETERMINISTIC_HASHING` fixes them, too.
    @usableFromInline static let seeds = (
        UInt64(bitPattern: Int64("reprise".hashValue)), UInt64(bitPattern: Int64("key".hashValue))
    )

    /// - Parameters:
    ///   - key: The key.
    ///   - texts: Those of its type.
    /// - Returns: The hash.
    @inlinable
    static func hash<Key: Hashable>(_ key: Key, _ texts: KeyTexts?) -> UInt32 {
        // The casts are resolved when this is specialized for the type of a key.
        if let key = key as? UUID {
            let words = unsafeBitCast(key, to: (UInt64, UInt64).self)
            return mix(words.0, words.1)
        }
        if let key = key as? Int64 { return mix(UInt64(bitPattern: key), 0) }
        if let key = key as? String { return UInt32(truncatingIfNeeded: KeyTexts.hash(key)) }
        guard let texts else { return UInt32(truncatingIfNeeded: key.hashValue) }
        var hasher = Hasher()
        hasher.combine(key)
        texts.hash(key, into: &hasher)
        return UInt32(truncatingIfNeeded: hasher.finalize())
    }

    /// Whether two keys are the same to PostgreSQL as well.
    @inlinable
    static func areSame<Key: Hashable>(_ left: Key, _ right: Key, _ texts: KeyTexts?) -> Bool {
        if let left = left as? String, let right = right as? String {
            return KeyTexts.areSame(left, right)
        }
        guard left == right else { return false }
        return texts.map { $0.areSame(left, right) } ?? true
    }

    /// The constant is an odd number without a pattern: the fraction of the golden ratio.
    @inlinable
    static func mix(_ first: UInt64, _ second: UInt64) -> UInt32 {
        let seeds = seeds
        let (high, low) = (first ^ seeds.0).multipliedFullWidth(by: second ^ seeds.1)
        let mixed = (high ^ low) &* 0x9e37_79b9_7f4a_7c15
        return UInt32(truncatingIfNeeded: mixed >> 32)
    }
}
