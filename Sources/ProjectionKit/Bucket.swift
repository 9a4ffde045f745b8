/// A half-open range of time: the unit of reading, progress and reporting.
public struct Bucket: Hashable, Comparable, Sendable {
    /// Milliseconds since 1970-01-01T00:00:00Z, a multiple of ``width``.
    public let start: Int64
    /// Length in milliseconds, 1 or more.
    public let width: Int64

    /// Makes the bucket that begins at `start`.
    @inlinable
    public init(start: Int64, width: Int64) {
        self.start = start
        self.width = width
    }

    /// The bucket that holds a time.
    ///
    /// - Parameters:
    ///   - time: Milliseconds since 1970; may be negative.
    ///   - width: Milliseconds, 1 or more.
    @inlinable
    public init(containing time: Int64, width: Int64) {
        precondition(width > 0, "a bucket width must be 1 ms or more; it is \(width)")
        let remainder = time % width
        start = time - (remainder < 0 ? remainder + width : remainder)
        self.width = width
    }

    /// Milliseconds since 1970 at which the next bucket begins.
    @inlinable
    public var end: Int64 { start + width }

    /// Whether `left` begins earlier.
    @inlinable
    public static func < (left: Bucket, right: Bucket) -> Bool { left.start < right.start }
}

extension Bucket: CustomStringConvertible {
    /// `[2026-03-01T00:00:00.000Z, 2026-03-01T00:00:15.000Z)`.
    public var description: String {
        "[\(Timestamp(milliseconds: start)), \(Timestamp(milliseconds: end)))"
    }
}
