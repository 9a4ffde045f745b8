/// What every session of ours sets, because a statement of ours depends on it.
///
/// Roles, databases and servers set these for their applications. A plan that an application's
/// `enable_seqscan = off` or JIT has made slow is slow under exclusive locks too, and a
/// `default_tablespace` moves tables.
enum SessionSettings {
    /// A message that leaves the session with the values below, whatever it began with.
    ///
    /// - Parameter version: The server's version, such as 150018.
    /// - Returns: The message.
    static func statement(version: Int32) -> String {
        var limits = [
            "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout",
            "idle_session_timeout",
        ]
        if version >= 170_000 { limits.append("transaction_timeout") }
        let wanted = values.map { name, value in
            "(\(SQLText.literal(name)), \(SQLText.literal(value)))"
        }
        // The limits first: until then those of the role hold, for this message too. Then the path, by
        // which operators and names are found: every name in a statement of ours says its schema. What
        // a role may not set stays: of these settings that is `session_replication_role` alone.
        // Servers on some other systems refuse to look whether their client lives (manual,
        // client_connection_check_interval).
        return limits.map { "SET \($0) = 0; " }.joined() + """
            SELECT pg_catalog.set_config('search_path', '', false);
            SELECT pg_catalog.set_config(s.name, coalesce(w.value, s.boot_val), false)
            FROM pg_catalog.pg_settings AS s
            LEFT JOIN (VALUES \(wanted.joined(separator: ", "))) AS w (name, value)
                ON w.name = s.name
            WHERE (w.name IS NOT NULL OR s.name LIKE 'enable\\_%'
                    OR s.name IN (\(builtIn.map(SQLText.literal).joined(separator: ", "))))
                AND s.setting IS DISTINCT FROM coalesce(w.value, s.boot_val)
                AND (s.context = 'user' OR pg_catalog.has_parameter_privilege(s.name, 'SET'))
                AND (s.name <> 'client_connection_check_interval'
                    OR pg_catalog.version() LIKE '%linux%')
            """
    }

    /// Values that statements of ours, or those who read their answers, count on.
    private static let values = [
        // Compiling takes longer than any query over the catalogues.
        ("jit", "off"),
        // Without it a server that is busy with a statement does not notice that this process died,
        // and keeps the locks until the statement ends.
        ("client_connection_check_interval", "2000"),
        ("client_min_messages", "warning"),
        ("DateStyle", "ISO, YMD"),
        ("IntervalStyle", "postgres"),
        ("TimeZone", "UTC"),
        ("extra_float_digits", "3"),
        ("bytea_output", "hex"),
        ("default_transaction_isolation", "read committed"),
        // `off` would report a cut-over that a crash may take back. No session waits for a standby with
        // locks in its hands, nor without a word: what has to reach one is waited for where it is said.
        ("synchronous_commit", "local"),
        // Each generation has a schema of its own, so that each of its statements would be a new one there
        // (pgstatstatements.c counts those other than queries by their text).
        ("pg_stat_statements.track_utility", "off"),
    ]

    /// Settings that get the value with which PostgreSQL is built; all `enable_…` do as well.
    private static let builtIn = [
        // How catalogue queries are planned.
        "constraint_exclusion", "cursor_tuple_fraction", "force_parallel_mode",
        "debug_parallel_query", "from_collapse_limit", "geqo", "geqo_threshold",
        "join_collapse_limit", "plan_cache_mode",
        // How statements are read, and what the server's own texts of them look like.
        "array_nulls", "quote_all_identifiers", "standard_conforming_strings",
        "transform_null_equals", "xmlbinary", "xmloption",
        // What a transaction may do. A session that is made read only is refused before this.
        "default_transaction_deferrable", "row_security",
        "session_replication_role",
        // What a new table is.
        "check_function_bodies", "default_table_access_method", "default_tablespace",
        "default_toast_compression",
    ]
}
