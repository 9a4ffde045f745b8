import Postgres

/// Whether event triggers run nobody's code with the rights of this role: a superuser makes an event
/// trigger, but anybody can own its function, and replace it.
enum EventTriggerTrust {
    /// Makes sure of it, before the session defines anything, and again where hours may have passed.
    ///
    /// A function that has the rights of its own owner (SECURITY DEFINER) counts as well: its owner can
    /// change that at any time, also by the function itself.
    ///
    /// - Throws: ``ReadModelError/untrustedEventTriggers(reasons:)``; what the server says.
    static func assert(on connection: PostgresConnection) async throws {
        let reasons = try await connection.query(
            """
            SELECT pg_catalog.format('%I: its function %s belongs to %I', t.evtname,
                t.evtfoid::pg_catalog.regprocedure, o.rolname) AS reason
            FROM pg_catalog.pg_event_trigger AS t
            JOIN pg_catalog.pg_proc AS f ON f.oid = t.evtfoid
            JOIN pg_catalog.pg_roles AS o ON o.oid = f.proowner
            WHERE \(EventTriggers.fires) AND NOT o.rolsuper AND o.rolname <> current_user
            ORDER BY 1
            """
        ).rows.map { try $0.string("reason") }
        guard reasons.isEmpty else { throw ReadModelError.untrustedEventTriggers(reasons: reasons) }
    }
}
