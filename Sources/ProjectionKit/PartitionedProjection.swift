public import FoundationEssentials

/// A projection whose events fall into parts that have nothing to do with each other, so that several
/// copies of it can be folded side by side.
///
/// ```swift
/// public struct Orders: PartitionedProjection {
///     public static func partitionKey(of event: borrowing Event) -> PartitionKey {
///         PartitionKey(streamOf: event)
///     }
/// }
/// ```
///
/// Each copy sees the events of its own keys alone, in the ledger's order, and begins with empty
/// tables. So two events may have different keys only if the reducer never looks at, or changes, a
/// row for one of them that it looks at or changes for the other. Two copies that make a row with
/// the same key stop the rebuild; a reducer that looks for the rows of another key finds none.
/// `rebuild --check-determinism --fold-copies 2` finds out: it compares two copies with one.
///
/// - Its tables are all it knows: a stored property that is neither a ``Table`` nor a
///   ``WorkingTable`` is a programmer error and traps when more than one copy is folded.
/// - Rows are loaded in another order than one copy would give them; they are the same rows.
/// - After the bulk of the ledger the copies are put together, and what follows is folded by one.
public protocol PartitionedProjection: Projection {
    /// What an event belongs to.
    ///
    /// Every copy asks it of every event, so it has to be cheap: the stream is, a field of the payload
    /// is parsed by each copy. It is asked of every type, also of those that `reduce` passes over.
    ///
    /// - Parameter event: An event of the ledger, of any type.
    /// - Returns: The key: the same one for all events that touch the same rows.
    /// - Throws: Any error, with which the event is refused as if `reduce` had thrown it.
    static func partitionKey(of event: borrowing Event) throws -> PartitionKey
}

/// What the events belong to that one copy of a ``PartitionedProjection`` has to see together.
public struct PartitionKey: Hashable, Sendable {
    /// A number that is the same in every process, so that two folds are split alike.
    let digest: UInt64

    /// The key of a UUID.
    public init(_ uuid: UUID) {
        let id = UUIDWords(uuid)
        digest = Self.mix(id.high ^ id.low &* Self.factor)
    }

    /// The key of a number.
    public init(_ number: Int64) { digest = Self.mix(UInt64(bitPattern: number)) }

    /// The key of a text.
    public init(_ text: String) {
        var text = text
        digest = text.withUTF8 { Self.digest(of: UnsafeRawBufferPointer($0)) }
    }

    /// The key of the stream that an event belongs to, without making a `String` of it.
    public init(streamOf event: borrowing Event) { digest = Self.digest(of: event.streamBytes) }

    /// The copy that sees the key's events.
    func copy(of count: Int) -> Int { Int(digest % UInt64(count)) }

    /// Odd, and without a pattern: the fraction of the golden ratio.
    private static let factor: UInt64 = 0x9e37_79b9_7f4a_7c15

    private static func digest(of bytes: UnsafeRawBufferPointer) -> UInt64 {
        var hash = UInt64(bytes.count) &* factor
        var offset = 0
        while offset + 8 <= bytes.count {
            let word = bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
            hash = mix(hash ^ UInt64(littleEndian: word))
            offset += 8
        }
        while offset < bytes.count {
            hash = mix(hash ^ UInt64(bytes[offset]))
            offset += 1
        }
        return hash
    }

    private static func mix(_ word: UInt64) -> UInt64 {
        let product = word.multipliedFullWidth(by: factor)
        return product.high ^ product.low
    }
}
