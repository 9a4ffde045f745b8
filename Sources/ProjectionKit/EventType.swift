internal import Glibc
import Synchronization

/// An event's type, interned: comparing two is comparing two numbers.
///
/// Declare the ones a reducer handles as constants, then switch over them:
///
/// ```swift
/// extension EventType {
///     static let orderPlaced = EventType("OrderPlaced")
/// }
/// ```
///
/// The number means something in this process only; it is never stored.
public struct EventType: Hashable, Sendable {
    /// The number that stands for the name.
    @usableFromInline let number: UInt32

    /// The number, for tables by type: 0, 1, 2 and so on.
    package var index: Int { Int(number) }

    /// Finds or makes the number of a name.
    ///
    /// Safe from any thread.
    public init(_ name: String) {
        number = EventType.names.withLock { $0.number(of: name) }
    }

    /// The name as the ledger writes it.
    public var name: String {
        EventType.names.withLock { $0.names[Int(number)] }
    }

    /// Whether the two are the same type.
    @inlinable
    public static func == (left: EventType, right: EventType) -> Bool {
        left.number == right.number
    }

    private struct Names {
        var names: [String] = []
        var numbers: [String: UInt32] = [:]

        mutating func number(of name: String) -> UInt32 {
            if let known = numbers[name] { return known }
            let number = UInt32(names.count)
            names.append(name)
            numbers[name] = number
            return number
        }
    }

    private static let names = Mutex(Names())
}

extension EventType: CustomStringConvertible {
    /// The name as the ledger writes it.
    public var description: String { name }
}

/// Interns type names from bytes without making a `String` for each event.
///
/// A cache of one reader: not shared between threads. Cost: one look-up an event, however many types
/// there are.
package struct EventTypeCache {
    private struct Entry {
        let bytes: [UInt8]
        let type: EventType
    }

    private var entries: [Entry] = []
    /// Indexes of entries by the hash of their name, open addressing; -1 is a free place. Its size is
    /// a power of two, at least twice the number of entries.
    private var places: [Int32] = Array(repeating: -1, count: 256)

    /// Unlike in every process, so that nobody can choose names that share a place.
    private static let seed = UInt64.random(in: .min ... .max)

    /// An empty cache.
    package init() {}

    /// The type of that name.
    ///
    /// - Parameter name: UTF-8; malformed bytes become U+FFFD.
    /// - Returns: The interned type.
    package mutating func type(named name: UnsafeRawBufferPointer) -> EventType {
        var place = Self.hash(of: name) & (places.count - 1)
        while places[place] >= 0 {
            let entry = entries[Int(places[place])]
            if Self.isEqual(entry.bytes, name) { return entry.type }
            place = (place + 1) & (places.count - 1)
        }
        let type = EventType(String(decoding: name, as: UTF8.self))
        places[place] = Int32(entries.count)
        entries.append(Entry(bytes: Array(name), type: type))
        if entries.count * 2 > places.count { grow() }
        return type
    }

    private mutating func grow() {
        places = Array(repeating: -1, count: places.count * 2)
        for (index, entry) in entries.enumerated() {
            var place = entry.bytes.withUnsafeBytes { Self.hash(of: $0) } & (places.count - 1)
            while places[place] >= 0 { place = (place + 1) & (places.count - 1) }
            places[place] = Int32(index)
        }
    }

    /// Eight bytes at a time; the last ones overlap.
    private static func hash(of name: UnsafeRawBufferPointer) -> Int {
        var hash = seed ^ UInt64(name.count)
        func mix(_ word: UInt64) {
            let product = (hash ^ word).multipliedFullWidth(by: 0x9e37_79b9_7f4a_7c15)
            hash = product.high ^ product.low ^ seed
        }
        var offset = 0
        while offset + 8 <= name.count {
            mix(name.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
            offset += 8
        }
        if offset < name.count {
            if name.count >= 8 {
                mix(name.loadUnaligned(fromByteOffset: name.count - 8, as: UInt64.self))
            } else {
                var word: UInt64 = 0
                for byte in name { word = word << 8 | UInt64(byte) }
                mix(word)
            }
        }
        return Int(truncatingIfNeeded: hash >> 1)
    }

    private static func isEqual(_ bytes: [UInt8], _ name: UnsafeRawBufferPointer) -> Bool {
        bytes.count == name.count
            && bytes.withUnsafeBytes { stored in
                guard let stored = stored.baseAddress, let name = name.baseAddress else {
                    return true
                }
                return memcmp(stored, name, bytes.count) == 0
            }
    }
}
