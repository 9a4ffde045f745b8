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
    private var types: [UInt64: [(bytes: [UInt8], type: EventType)]] = [:]

    /// An empty cache.
    package init() {}

    /// The type of that name.
    ///
    /// - Parameter name: UTF-8; malformed bytes become U+FFFD.
    /// - Returns: The interned type.
    package mutating func type(named name: UnsafeRawBufferPointer) -> EventType {
        // FNV-1a: names are short and few, and the bytes are compared anyway.
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in name {
            hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3
        }
        for candidate in types[hash, default: []] where candidate.bytes.elementsEqual(name) {
            return candidate.type
        }
        let type = EventType(String(decoding: name, as: UTF8.self))
        types[hash, default: []].append((Array(name), type))
        return type
    }
}
