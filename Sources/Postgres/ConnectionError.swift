import Wording

/// A server that could not be reached, or was lost.
///
/// None of the messages holds a password.
package enum ConnectionError: Error, Hashable, Sendable {
    /// The connection string cannot be read; nothing was tried.
    case malformed(reason: String)
    /// No server answered there.
    case unreachable(summary: String, reason: String)
    /// The server does not let this role in.
    case authenticationFailed(summary: String, reason: String)
    /// The server has no database of that name.
    case databaseMissing(summary: String, reason: String)
    /// The role may not use this database.
    case connectDenied(summary: String, reason: String)
    /// Somebody has closed the database to sessions.
    case databaseClosed(summary: String, reason: String)
    /// libpq does not connect with these settings, or not to such a server, or the server does not take
    /// them.
    case settingsUnusable(summary: String, reason: String)
    /// This process, or its machine, can open no further file.
    case descriptorsExhausted(summary: String, reason: String)
    /// The server answers, and its disk is too full for a session.
    case diskFull(summary: String, reason: String)
    /// The server, or the role, has no connection left.
    case tooManyConnections(summary: String, reason: String)
    /// The server is starting, stopping or recovering.
    case notAccepting(summary: String, reason: String)
    /// The connection was there and is gone. Whether the server finished what it was doing is not
    /// known; what it had not committed it rolls back. `during` is the opening of the statement.
    case lost(summary: String, during: String, reason: String)
    /// A connection pooler answers that hands sessions of the server to others between transactions; it
    /// reaches the server at `server`, where that is known. Nothing was set there.
    case pooled(summary: String, server: String?)
    /// A connection pooler answers that has no session left for us; it reaches the server at `server`,
    /// where that is known.
    case poolExhausted(summary: String, server: String?)
    /// Somebody has made the transactions of these sessions read only, at `source`, as
    /// `pg_settings.source` names it; nothing was set there.
    case readOnly(summary: String, source: String)
    /// The server is older than what is supported; nothing was asked of it.
    case unsupportedVersion(summary: String, version: String)
}

extension ConnectionError {
    /// Whether the same call may succeed a little later without anybody changing anything.
    package var isTransient: Bool {
        switch self {
        case .unreachable, .tooManyConnections, .notAccepting, .lost, .poolExhausted: true
        case .malformed, .authenticationFailed, .databaseMissing, .descriptorsExhausted, .diskFull,
            .connectDenied, .databaseClosed, .settingsUnusable, .pooled, .readOnly,
            .unsupportedVersion:
            false
        }
    }

    /// What to do about a server that cannot be worked with, as a sentence; nil for another error.
    package var remedy: String? {
        switch self {
        case .settingsUnusable:
            "Correct the setting that the reason names (in DATABASE_URL, PGSSLMODE, PGSERVICE and their "
                + "like), then run the command again."
        case .connectDenied:
            "Let the database's owner GRANT CONNECT ON DATABASE … TO that role, then run the command again."
        case .databaseClosed:
            "Find out who closed it. ALTER DATABASE … ALLOW_CONNECTIONS true, typed in another database, "
                + "opens it; then run the command again."
        case .diskFull:
            "Free space on the server's disk ('df' there; its log says more), then run the command again."
        case .pooled:
            "Set DATABASE_URL, or PGHOST and PGPORT, to the address of the server itself, or to a "
                + "database of the pooler in session mode (pool_mode=session in [databases] of "
                + "pgbouncer.ini)."
        case .poolExhausted:
            "Give this database and role more sessions there (pool_size=6 in [databases] of "
                + "pgbouncer.ini), or set DATABASE_URL to the address of the server itself; then run "
                + "the command again."
        case .readOnly:
            "Ask why it was set. To run this command all the same, set "
                + "PGOPTIONS='-c default_transaction_read_only=off' for it."
        case .unsupportedVersion:
            "Supported are \(TestedMajors.range): upgrade the server, or name another "
                + "one by DATABASE_URL or PGHOST."
        default: nil
        }
    }

    /// Whether the server ended the session because a transaction of it had stood idle for longer
    /// than `idle_in_transaction_session_timeout`; nothing of the transaction stays.
    package var isIdleTimeout: Bool {
        guard case .lost(_, _, let reason) = self else { return false }
        return reason.hasSuffix("(SQLSTATE 25P03)")
    }

    /// Sorts a failed connection attempt by the server's message, since libpq hands out no SQLSTATE
    /// for it.
    ///
    /// - Parameters:
    ///   - reason: libpq's message, free of passwords.
    ///   - needsPassword: What `PQconnectionNeedsPassword` says.
    ///   - summary: Where the attempt went.
    ///   - sqlState: Asks for the SQLSTATE of another attempt, where the message says nothing: a server
    ///     may speak another language than English. It returns nil where there is none.
    init(
        refusal reason: String,
        needsPassword: Bool,
        summary: String,
        sqlState: () -> String?
    ) {
        let read = Self(english: reason, needsPassword: needsPassword, summary: summary)
        guard case .unreachable = read, let sqlState = sqlState() else {
            self = read
            return
        }
        self =
            switch sqlState {
            case "28000", "28P01": .authenticationFailed(summary: summary, reason: reason)
            case "42501": .connectDenied(summary: summary, reason: reason)
            case "55000": .databaseClosed(summary: summary, reason: reason)
            // A value, a name or a message of ours that it does not take.
            case let state where ["22", "42", "08P01"].contains(where: state.hasPrefix):
                .settingsUnusable(summary: summary, reason: reason)
            case "3D000": .databaseMissing(summary: summary, reason: reason)
            case "53300": .tooManyConnections(summary: summary, reason: reason)
            case "53100": .diskFull(summary: summary, reason: reason)
            case "57P03": .notAccepting(summary: summary, reason: reason)
            default: read
            }
    }

    /// Whether libpq did not even try, because of a value that it cannot use.
    private static func isOfLibpq(_ reason: String) -> Bool {
        // Some values it reads behind the name of the server, others before it looks for one.
        reason.hasPrefix("invalid ") || reason.contains(" failed: invalid ")
            || reason.hasPrefix("could not match ")
            || reason.contains("could not parse network address")
    }

    private init(english reason: String, needsPassword: Bool, summary: String) {
        func says(_ phrases: String...) -> Bool { phrases.contains(where: reason.contains) }
        if says("Too many open files") && !says("FATAL") {
            self = .descriptorsExhausted(summary: summary, reason: reason)
        } else if says("No space left on device", "could not write init file") {
            self = .diskFull(summary: summary, reason: reason)
        } else if says("permission denied for database") {
            self = .connectDenied(summary: summary, reason: reason)
        } else if says("not currently accepting connections") {
            self = .databaseClosed(summary: summary, reason: reason)
        } else if Self.isOfLibpq(reason)
            || says("unrecognized configuration parameter", "invalid value for parameter")
        {
            self = .settingsUnusable(summary: summary, reason: reason)
        } else if says(
            "SSL was required",
            "SSL required",
            "channel binding",
            "certificate",
            "private key file",
            "definition of service",
            "service file"
        ) {
            self = .settingsUnusable(summary: summary, reason: reason)
        } else if needsPassword
            || says(
                "authentication failed",
                "no pg_hba.conf entry",
                "pg_hba.conf rejects",
                "no password supplied",
                "is not permitted to log in"
            )
        {
            self = .authenticationFailed(summary: summary, reason: reason)
        } else if says(
            "too many clients",
            "connection slots",
            "too many connections",
            "no more connections allowed"
        ) {
            self = .tooManyConnections(summary: summary, reason: reason)
        } else if says(
            "is starting up",
            "is shutting down",
            "in recovery mode",
            "not yet accepting",
            "not accepting connections"
        ) {
            self = .notAccepting(summary: summary, reason: reason)
        } else if says("role \"") && says("does not exist") {
            self = .authenticationFailed(summary: summary, reason: reason)
        } else if says("FATAL:  database \"") && says("does not exist") {
            self = .databaseMissing(summary: summary, reason: reason)
        } else {
            self = .unreachable(summary: summary, reason: reason)
        }
    }
}

extension ConnectionError: CustomStringConvertible {
    /// What happened, where, why, and what to try next.
    package var description: String { remedy.map { "\(what)\n\($0)" } ?? what }

    /// The same without the ``remedy``.
    package var what: String {
        switch self {
        case .malformed(let reason):
            """
            The connection string cannot be read: \(TextForPeople.oneLine(reason)).
            Write postgresql://user@host:5432/database, or host=… user=… dbname=….
            """
        case .unreachable(let summary, let reason):
            """
            Cannot reach PostgreSQL, \(TextForPeople.line(summary)).
            The reason: \(TextForPeople.oneLine(reason))
            See whether it answers: pg_isready with the same host and port.
            """
        case .authenticationFailed(let summary, let reason):
            """
            PostgreSQL does not let us in, \(TextForPeople.line(summary)).
            The reason: \(TextForPeople.oneLine(reason))
            Set PGUSER and PGPASSWORD, or ~/.pgpass, or ask for an entry in pg_hba.conf.
            """
        case .databaseMissing(let summary, let reason):
            """
            PostgreSQL has no such database, \(TextForPeople.line(summary)).
            The reason: \(TextForPeople.oneLine(reason))
            List what there is with psql -l, or make it with createdb.
            """
        case .connectDenied(let summary, let reason):
            """
            PostgreSQL does not let this role into the database, \(TextForPeople.line(summary)).
            The reason: \(TextForPeople.oneLine(reason))
            """
        case .databaseClosed(let summary, let reason):
            """
            The database takes no sessions, \(TextForPeople.line(summary)).
            The reason: \(TextForPeople.oneLine(reason))
            """
        case .settingsUnusable(let summary, let reason):
            """
            No connection can be made with these settings, \(TextForPeople.line(summary)).
            The reason: \(TextForPeople.oneLine(reason))
            """
        case .descriptorsExhausted(let summary, let reason):
            """
            This process can open no further file, nor a connection, \(TextForPeople.line(summary)).
            The reason: \(TextForPeople.oneLine(reason))
            """
        case .diskFull(let summary, let reason):
            """
            PostgreSQL answers, and cannot begin a session, \(TextForPeople.line(summary)): its disk is full.
            The reason: \(TextForPeople.oneLine(reason))
            """
        case .tooManyConnections(let summary, let reason):
            """
            PostgreSQL has no connection left for us, \(TextForPeople.line(summary)).
            The reason: \(TextForPeople.oneLine(reason))
            A command of ours has up to 4 at once, 'rebuild --jobs N' up to N + 1. CONNECTION LIMIT of \
            the role or the database must not be lower (ALTER ROLE, ALTER DATABASE).
            Otherwise try again when some have ended; pg_stat_activity shows who holds them.
            """
        case .notAccepting(let summary, let reason):
            """
            PostgreSQL takes no connections at the moment, \(TextForPeople.line(summary)).
            The reason: \(TextForPeople.oneLine(reason))
            Try again in a moment.
            """
        case .lost(let summary, let during, let reason):
            """
            Lost the connection to PostgreSQL during \(TextForPeople.line(during)), \(TextForPeople.line(summary)).
            The reason: \(TextForPeople.oneLine(reason))
            The server rolls back what was not committed.
            """
        case .pooled(let summary, let server):
            """
            A connection pooler, such as pgbouncer, answers for \(summary).
            Locks, settings and temporary tables belong to one session of the server, and this pooler \
            hands sessions to applications between our transactions. It reaches the server at \
            \(server ?? "an address that it does not tell").
            """
        case .poolExhausted(let summary, let server):
            """
            A connection pooler, such as pgbouncer, answers for \(summary), and gave us no further \
            session of the server within \(StatementCanceller.patienceSeconds) s.
            A command of ours has up to 5 at once, 'rebuild --jobs N' up to N + 2. The pooler reaches \
            the server at \(server ?? "an address that it does not tell").
            """
        case .readOnly(let summary, let source):
            """
            Transactions are read only, \(summary): default_transaction_read_only is on, set by \
            \(Self.setter(source)).
            """
        case .unsupportedVersion(let summary, let version):
            "PostgreSQL \(version) is not supported, \(summary)."
        }
    }

    /// Where a setting comes from, in words.
    ///
    /// - Parameter source: What `pg_settings.source` says.
    /// - Returns: The words.
    private static func setter(_ source: String) -> String {
        switch source {
        case "user": "ALTER ROLE"
        case "database": "ALTER DATABASE"
        case "database user": "ALTER ROLE … IN DATABASE"
        case "global": "ALTER ROLE ALL"
        case "client": "the connection string or PGOPTIONS"
        case "configuration file": "postgresql.conf or ALTER SYSTEM"
        default: "the server's \(TextForPeople.line(source))"
        }
    }
}
