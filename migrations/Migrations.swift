/// The numbered changes of what lasts, oldest first.
///
/// They go forward only.
package enum Migrations {
    /// For the embedded ledger, an SQLite file: the tables of each format, in a new file.
    ///
    /// What an older format holds is copied into a file of the newest one.
    package static var ledger: [Migration] {
        [
            Migration(number: 1, name: "events", bytes: PackageResources._001_events_sql),
            Migration(
                number: 2,
                name: "append_order",
                bytes: PackageResources._002_append_order_sql
            ),
        ]
    }

    /// For the schema `reprise` in PostgreSQL.
    package static var postgres: [Migration] {
        [
            Migration(number: 1, name: "bookkeeping", bytes: PackageResources._001_bookkeeping_sql),
            Migration(
                number: 2,
                name: "cut_over_records",
                bytes: PackageResources._002_cut_over_records_sql
            ),
            Migration(number: 3, name: "followers", bytes: PackageResources._003_followers_sql),
            Migration(
                number: 4,
                name: "foreign_keys",
                bytes: PackageResources._004_foreign_keys_sql
            ),
            Migration(
                number: 5,
                name: "session_locks",
                bytes: PackageResources._005_session_locks_sql
            ),
            Migration(
                number: 6,
                name: "silent_sessions",
                bytes: PackageResources._006_silent_sessions_sql
            ),
            Migration(number: 7, name: "provenance", bytes: PackageResources._007_provenance_sql),
            Migration(
                number: 8,
                name: "follower_errors",
                bytes: PackageResources._008_follower_errors_sql
            ),
        ]
    }
}

/// One change.
package struct Migration: Sendable {
    /// 1, 2, 3 and so on, without gaps.
    package let number: Int
    /// The file's name without number and ending.
    package let name: String
    /// The statements, for one transaction.
    package let sql: String

    init(number: Int, name: String, bytes: [UInt8]) {
        self.number = number
        self.name = name
        sql = String(decoding: bytes, as: UTF8.self)
    }
}
