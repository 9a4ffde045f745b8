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
/// A cache of one reader: not shared between threads.
package struct EventTypeCache {
    private struct Entry {
        let bytes: [UInt8]
        let type: EventType
    }

    /// The types by the place that their name has, which several may share.
    private var places: [[Entry]] = Array(repeating: [], count: 256)

    /// An empty cache.
    package init() {}

    /// The type of that name.
    ///
    /// - Parameter name: UTF-8; malformed bytes become U+FFFD.
    /// - Returns: The interned type.
    package mutating func type(named name: UnsafeRawBufferPointer) -> EventType {
        let place = Self.place(of: name)
        for entry in places[place] where Self.isEqual(entry.bytes, name) { return entry.type }
        let type = EventType(String(decoding: name, as: UTF8.self))
        places[place].append(Entry(bytes: Array(name), type: type))
        return type
    }

    /// Names are short and few, and their bytes are compared anyway: length, beginning and end tell
    /// most of them apart.
    private static func place(of name: UnsafeRawBufferPointer) -> Int {
        guard let first = name.first, let last = name.last else { return 0 }
        let middle = name[name.count / 2]
        return (name.count &* 31 &+ Int(first) &* 7 &+ Int(middle) &* 13 &+ Int(last)) & 255
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
