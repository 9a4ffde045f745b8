/// The PostgreSQL types a column of a read model can have.
///
/// The raw value is the type's name in `pg_catalog.pg_type`; ``enumeration`` stands for every enum
/// type.
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
    case bytea
    case uuid
    case date
    case timestamp
    case timestamptz
    case json
    case jsonb
    case enumeration = "enum"
    case textArray = "_text"
    case int8Array = "_int8"
    case uuidArray = "_uuid"

    /// The name as people write it in SQL.
    public var sqlName: String {
        switch self {
        case .bool: "boolean"
        case .int2: "smallint"
        case .int4: "integer"
        case .int8: "bigint"
        case .float4: "real"
        case .float8: "double precision"
        case .bpchar: "character"
        case .textArray: "text[]"
        case .int8Array: "bigint[]"
        case .uuidArray: "uuid[]"
        default: rawValue
        }
    }
}
