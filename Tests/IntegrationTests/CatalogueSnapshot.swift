internal import Postgres
internal import TestSupport

extension ScratchDatabase {
    /// Every catalogue row that a DDL statement writes, each with the transaction that wrote it:
    /// equal when nothing has been made, changed or dropped, and nothing undone by a second change.
    func catalogue() async throws -> [String] {
        let result = try await query(
            """
            SELECT 'class ' || oid || ' ' || xmin AS line FROM pg_catalog.pg_class
            UNION ALL SELECT 'namespace ' || oid || ' ' || xmin FROM pg_catalog.pg_namespace
            UNION ALL SELECT 'type ' || oid || ' ' || xmin FROM pg_catalog.pg_type
            UNION ALL SELECT 'function ' || oid || ' ' || xmin FROM pg_catalog.pg_proc
            UNION ALL SELECT 'constraint ' || oid || ' ' || xmin FROM pg_catalog.pg_constraint
            UNION ALL SELECT 'rule ' || oid || ' ' || xmin FROM pg_catalog.pg_rewrite
            UNION ALL SELECT 'trigger ' || oid || ' ' || xmin FROM pg_catalog.pg_trigger
            UNION ALL SELECT 'index ' || indexrelid || ' ' || xmin FROM pg_catalog.pg_index
            UNION ALL SELECT 'column ' || attrelid || ' ' || attnum || ' ' || xmin
            FROM pg_catalog.pg_attribute
            ORDER BY 1
            """
        )
        return try result.rows.map { try $0.string("line") }
    }
}
