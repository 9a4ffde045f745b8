@_spi(Reflection) internal import Swift

/// A stored property of a type, as the runtime knows it: no instance is needed.
///
/// It stands on `_forEachField` of the standard library, which is no stable interface; nothing else
/// in the package does.
struct StoredProperty {
    /// Its name.
    let name: String
    /// Where it stands in the type that declares it.
    let offset: Int
    /// Its type.
    let type: Any.Type
    /// Whether that type is a struct.
    let isStruct: Bool

    /// Bytes that it takes.
    var size: Int {
        func size<Value>(_: Value.Type) -> Int { MemoryLayout<Value>.size }
        return _openExistential(type, do: size)
    }

    /// The stored properties of its type, in the order of their declaration; none unless that is a
    /// struct.
    var properties: [StoredProperty] { isStruct ? StoredProperty.properties(of: type) : [] }

    /// A value of a type that stands by itself.
    static func whole<Value>(_: Value.Type) -> StoredProperty? {
        properties(of: Whole<Value>.self).first
    }

    private static func properties(of type: Any.Type) -> [StoredProperty] {
        var properties: [StoredProperty] = []
        _ = _forEachField(of: type, options: []) { name, offset, type, kind in
            properties.append(
                StoredProperty(
                    name: String(cString: name),
                    offset: offset,
                    type: type,
                    isStruct: kind == .struct
                )
            )
            return true
        }
        return properties
    }

    private struct Whole<Value> { let value: Value }
}
