package import FoundationEssentials

/// The 16 bytes of a UUID as two numbers, which compare and hash without a call into Foundation.
///
/// Source: RFC 9562 section 5.7.
package struct UUIDWords: Hashable, Comparable, Sendable {
    /// Bytes 0 to 7, most significant first.
    package let high: UInt64
    /// Bytes 8 to 15, most significant first.
    package let low: UInt64

    /// Makes a UUID of its two halves.
    package init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// Takes a UUID's bytes.
    package init(_ uuid: UUID) {
        (high, low) = withUnsafeBytes(of: uuid.uuid) { bytes in
            (
                UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 0, as: UInt64.self)),
                UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
            )
        }
    }

    /// The same bytes as a UUID.
    package var uuid: UUID {
        // Sixteen bytes are cast to sixteen bytes: UUID's own initializer takes each as an argument
        // of a call into another library.
        unsafeBitCast((high.bigEndian, low.bigEndian), to: UUID.self)
    }

    /// Whether `left` has the lower bytes.
    package static func < (left: UUIDWords, right: UUIDWords) -> Bool {
        left.high == right.high ? left.low < right.low : left.high < right.high
    }
}

extension UUIDWords: CustomStringConvertible {
    /// The usual 36 characters, in lower case.
    package var description: String { uuid.uuidString.lowercased() }
}
