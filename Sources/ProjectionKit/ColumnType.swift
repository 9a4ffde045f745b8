/// The PostgreSQL types a column of a read model can have.
///
/// The raw value is the type's name in `pg_catalog.pg_type`; ``enumeration`` stands for every enum type,
/// ``passed`` for every type whose values travel as text.
public enum ColumnType: String, CaseIterable, Sendable {
    case bool
    case int2
    case int4
    case int8
    case float4
    case float8
    case numeric
    case text
    case varchar
    case bpchar
    /// Of the extension of that name.
    case citext
    case bytea
    case uuid
    case date
    case timestamp
    case timestamptz
    case json
    case jsonb
    case xml
    case enumeration = "enum"
    case passed = "as text"
    case boolArray = "_bool"
    case int2Array = "_int2"
    case int4Array = "_int4"
    case int8Array = "_int8"
    case float4Array = "_float4"
    case float8Array = "_float8"
    case numericArray = "_numeric"
    case textArray = "_text"
    case varcharArray = "_varchar"
    case bpcharArray = "_bpchar"
    case byteaArray = "_bytea"
    case uuidArray = "_uuid"
    case dateArray = "_date"
    case timestampArray = "_timestamp"
    case timestamptzArray = "_timestamptz"
    case jsonArray = "_json"
    case jsonbArray = "_jsonb"

    /// The name as people write it in SQL.
    public var sqlName: String {
        if let element { return "\(element.sqlName)[]" }
        return switch self {
        case .bool: "boolean"
        case .int2: "smallint"
        case .int4: "integer"
        case .int8: "bigint"
        case .float4: "real"
        case .float8: "double precision"
        case .bpchar: "character"
        default: rawValue
        }
    }

    /// The type of an array's elements; nil for a type that is no array.
    var element: ColumnType? {
        guard rawValue.hasPrefix("_") else { return nil }
        return ColumnType(rawValue: String(rawValue.dropFirst()))
    }

    /// The type's OID where PostgreSQL fixes it (`pg_type.dat`) and an array can have it as elements.
    var elementOID: Int32? {
        switch self {
        case .bool: 16
        case .bytea: 17
        case .int8: 20
        case .int2: 21
        case .int4: 23
        case .text: 25
        case .json: 114
        case .float4: 700
        case .float8: 701
        case .bpchar: 1_042
        case .varchar: 1_043
        case .date: 1_082
        case .timestamp: 1_114
        case .timestamptz: 1_184
        case .numeric: 1_700
        case .uuid: 2_950
        case .jsonb: 3_802
        default: nil
        }
    }
}
