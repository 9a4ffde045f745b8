public import FoundationEssentials

/// The 16 bytes that name an event.
///
/// Ids compare as bytes, which for UUIDv7 is the order of time.
///
/// Source: RFC 9562 section 5.7.
public struct EventID: Hashable, Comparable, Sendable {
    /// Bytes 0 to 7, most significant first.
    public let high: UInt64
    /// Bytes 8 to 15, most significant first.
    public let low: UInt64

    /// Makes an id of its two halves.
    @inlinable
    public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// Makes an id of a UUID's bytes.
    public init(_ uuid: UUID) {
        (high, low) = withUnsafeBytes(of: uuid.uuid) { bytes in
            (
                UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 0, as: UInt64.self)),
                UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
            )
        }
    }

    /// The same bytes as a UUID.
    public var uuid: UUID {
        // Sixteen bytes are cast to sixteen bytes: UUID's own initializer takes each as an argument
        // of a call into another library.
        unsafeBitCast((high.bigEndian, low.bigEndian), to: UUID.self)
    }

    /// Whether `left` is the earlier of two ids.
    @inlinable
    public static func < (left: EventID, right: EventID) -> Bool {
        left.high == right.high ? left.low < right.low : left.high < right.high
    }
}

extension EventID: CustomStringConvertible {
    /// The usual 36 characters, in lower case.
    public var description: String { uuid.uuidString.lowercased() }
}
