internal import CCrashReport
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
        /// By their bytes, as a ledger tells types apart.
        var numbers: [[UInt8]: UInt32] = [:]

        mutating func number(of name: String) -> UInt32 {
            let bytes = Array(name.utf8)
            if let known = numbers[bytes] { return known }
            let number = UInt32(names.count)
            names.append(name)
            numbers[bytes] = number
            var text = name
            text.withUTF8 { text in
                text.withMemoryRebound(to: CChar.self) {
                    crash_report_name_type(number, $0.baseAddress, $0.count)
                }
            }
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
    /// What stands for one name.
    ///
    /// All that is compared first stands here, so that a look-up waits for memory once, and a second
    /// time where the name is found.
    private struct Place {
        /// Of the name; its other half says where the place is.
        var hash: UInt32
        var type: EventType
        /// Where the name begins in `names`.
        var offset: Int
        /// -1 for a free place.
        var length: Int
    }

    private static let free = Place(hash: 0, type: EventType(""), offset: 0, length: -1)

    private var names: [UInt8] = []
    private var count = 0
    /// Open addressing; a power of two, at least twice as many as there are names.
    private var places: [Place] = Array(repeating: free, count: 256)

    /// Unlike in every process, so that nobody can choose names that share a place.
    private static let seed = UInt64.random(in: .min ... .max)

    /// An empty cache.
    package init() {}

    /// The type of that name.
    ///
    /// - Parameter name: UTF-8; malformed bytes become U+FFFD.
    /// - Returns: The interned type.
    package mutating func type(named name: UnsafeRawBufferPointer) -> EventType {
        let hash = Self.hash(of: name)
        let short = UInt32(truncatingIfNeeded: hash >> 32)
        var index = Int(truncatingIfNeeded: hash) & (places.count - 1)
        while places[index].length >= 0 {
            let place = places[index]
            if place.hash == short, place.length == name.count, isEqual(place, name) {
                return place.type
            }
            index = (index + 1) & (places.count - 1)
        }
        let type = EventType(String(decoding: name, as: UTF8.self))
        places[index] = Place(hash: short, type: type, offset: names.count, length: name.count)
        names.append(contentsOf: name)
        count += 1
        if count * 2 > places.count { grow() }
        return type
    }

    private mutating func grow() {
        let old = places
        places = Array(repeating: Self.free, count: old.count * 2)
        for place in old where place.length >= 0 {
            let hash = names.withUnsafeBytes { names in
                Self.hash(
                    of: UnsafeRawBufferPointer(
                        rebasing: names[place.offset..<(place.offset + place.length)]
                    )
                )
            }
            var index = Int(truncatingIfNeeded: hash) & (places.count - 1)
            while places[index].length >= 0 { index = (index + 1) & (places.count - 1) }
            places[index] = place
        }
    }

    private func isEqual(_ place: Place, _ name: UnsafeRawBufferPointer) -> Bool {
        names.withUnsafeBytes { names in
            guard let names = names.baseAddress, let name = name.baseAddress else { return true }
            return memcmp(names + place.offset, name, place.length) == 0
        }
    }

    /// Eight bytes at a time; the last ones overlap.
    private static func hash(of name: UnsafeRawBufferPointer) -> UInt64 {
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
        return hash
    }
}
