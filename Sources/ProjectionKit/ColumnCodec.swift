/// What is done with a column's value where its type is not known.
///
/// The closures are made where the row type is declared, and specialised there: generic code that is
/// not specialised costs ten times as much.
@usableFromInline
struct ColumnCodec: Sendable {
    /// The value's type.
    let type: any ColumnValue.Type
    /// Appends the value at an address as one field.
    let encode: FieldEncoder
    /// Makes the value of a field at an address where there is none.
    let initialize: FieldDecoder
    /// Destroys the value at an address.
    let deinitialize: @Sendable (UnsafeMutableRawPointer) -> Void

    @usableFromInline
    init(
        type: any ColumnValue.Type,
        encode: @escaping FieldEncoder,
        initialize: @escaping FieldDecoder,
        deinitialize: @escaping @Sendable (UnsafeMutableRawPointer) -> Void
    ) {
        self.type = type
        self.encode = encode
        self.initialize = initialize
        self.deinitialize = deinitialize
    }

    @inlinable
    init<Value: ColumnValue>(_: Value.Type) {
        self.init(
            type: Value.self,
            encode: { value, buffer, type in
                try value.assumingMemoryBound(to: Value.self).pointee.encode(
                    into: &buffer,
                    as: type
                )
            },
            initialize: { field, type, memory in
                let value = try Value(field: field, as: type)
                memory.initializeMemory(as: Value.self, to: value)
            },
            deinitialize: { memory in
                memory.assumingMemoryBound(to: Value.self).deinitialize(count: 1)
            }
        )
    }
}

/// Appends a value as one field: a property of the row at the address, or the value there.
@usableFromInline
typealias FieldEncoder =
    @Sendable (UnsafeRawPointer, inout RowBuffer, ColumnType) throws -> Void

/// Makes the value of a field (nil is NULL) at an address where there is none.
@usableFromInline
typealias FieldDecoder =
    @Sendable (UnsafeRawBufferPointer?, ColumnType, UnsafeMutableRawPointer) throws -> Void
