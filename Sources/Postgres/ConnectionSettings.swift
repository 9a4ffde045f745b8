internal import CLibPQ

/// How to reach a server.
package struct ConnectionSettings: Sendable {
    /// The connection string as given.
    ///
    /// It can hold a password: it is for the server and for child processes, never for a message.
    /// Messages show ``summary``.
    package let conninfo: String
    /// The name that `pg_stat_activity` shows.
    ///
    /// It wins over one in the connection string.
    package let applicationName: String
    /// Longest wait for each address of the server, in seconds; libpq takes less than 2 for 2.
    ///
    /// `connect_timeout` in the connection string and `PGCONNECT_TIMEOUT` win over it.
    package let connectTimeoutSeconds: Int

    /// Settings for one server.
    ///
    /// - Parameters:
    ///   - conninfo: A URL (`postgresql://…`), `keyword=value` pairs or the name of a database. What
    ///     it leaves open libpq takes from `PGHOST` and its other variables.
    ///   - applicationName: What `pg_stat_activity` shows.
    ///   - connectTimeoutSeconds: Longest wait for each address, in seconds.
    package init(
        conninfo: String = "",
        applicationName: String = "reprise",
        connectTimeoutSeconds: Int = 10
    ) {
        self.conninfo = conninfo
        self.applicationName = applicationName
        self.connectTimeoutSeconds = connectTimeoutSeconds
    }

    /// The same server under another name in `pg_stat_activity`.
    package func withApplicationName(_ name: String) -> ConnectionSettings {
        ConnectionSettings(
            conninfo: conninfo,
            applicationName: name,
            connectTimeoutSeconds: connectTimeoutSeconds
        )
    }

    /// The same server and role, another database.
    ///
    /// - Throws: ``ConnectionError/malformed(reason:)``.
    package func withDatabase(_ name: String) throws -> ConnectionSettings {
        var options = try given()
        options["dbname"] = name
        let pairs = options.sorted { $0.key < $1.key }.map { "\($0.key)=\(Self.quoted($0.value))" }
        return ConnectionSettings(
            conninfo: pairs.joined(separator: " "),
            applicationName: applicationName,
            connectTimeoutSeconds: connectTimeoutSeconds
        )
    }

    /// Where the settings lead, as libpq resolves them, for messages: "database shop on /run/x port
    /// 5432 as app".
    ///
    /// Never a password.
    package var summary: String {
        guard let options = try? resolved() else { return "a server that is not named properly" }
        let user = options["user"] ?? "the current user"
        let host = options["host"] ?? options["hostaddr"] ?? "the local socket"
        let port = options["port"] ?? "5432"
        return "database \(options["dbname"] ?? user) on \(host) port \(port) as \(user)"
    }
}

extension ConnectionSettings {
    /// What goes to `PQconnectdbParams`, in order: a later key wins over an earlier one, and
    /// `dbname` is expanded in its place.
    ///
    /// - Throws: ``ConnectionError/malformed(reason:)``, without having looked up any name.
    func parameters() throws -> [(key: String, value: String)] {
        var parameters = [
            // A dead peer is noticed after 60 s of silence while waiting for an answer …
            (key: "keepalives_idle", value: "30"), (key: "keepalives_interval", value: "10"),
            (key: "keepalives_count", value: "3"),
            // … and after 5 minutes while sending. Not less: Linux counts the time in which a
            // living server keeps its window closed (tcp(7), TCP_USER_TIMEOUT), and a COPY into a
            // server that is busy with a checkpoint may stand still for a while.
            (key: "tcp_user_timeout", value: "300000"),
        ]
        if try resolved()["connect_timeout"] == nil {
            parameters.append((key: "connect_timeout", value: String(connectTimeoutSeconds)))
        }
        parameters.append((key: "dbname", value: conninfo))
        parameters.append((key: "application_name", value: applicationName))
        parameters.append((key: "client_encoding", value: "UTF8"))
        return parameters
    }

    /// `text` without the password, in each of the forms in which it could stand there.
    func redacting(_ text: String) -> String {
        guard let options = try? resolved() else { return Self.cuttingQuotations(text) }
        var secrets: Set<String> = []
        for password in [options["password"], options["sslpassword"]].compactMap({ $0 }) {
            secrets.insert(password)
            secrets.insert(Self.percentEncoded(password, digits: "0123456789ABCDEF"))
            secrets.insert(Self.percentEncoded(password, digits: "0123456789abcdef"))
        }
        if let written = passwordInURL { secrets.insert(written) }
        return secrets.filter { !$0.isEmpty }.sorted { $0.utf8.count > $1.utf8.count }
            .reduce(text) { Self.replacing($1, in: $0, with: "…") }
    }

    private var isURL: Bool {
        conninfo.hasPrefix("postgresql://") || conninfo.hasPrefix("postgres://")
    }

    /// What stands between `user:` and `@` in a URL, as written.
    private var passwordInURL: String? {
        guard isURL, let at = conninfo.firstIndex(of: "@") else { return nil }
        let authority = conninfo[..<at].drop(while: { $0 != "/" }).dropFirst(2)
        return authority.firstIndex(of: ":").map { String(authority[$0...].dropFirst()) }
    }

    /// The connection string, laid over libpq's defaults and variables.
    private func resolved() throws -> [String: String] {
        var options: [String: String] = [:]
        if let defaults = PQconndefaults() {
            options = Self.taking(defaults)
        }
        return try options.merging(given()) { _, given in given }
    }

    /// What the connection string itself says.
    private func given() throws -> [String: String] {
        guard !conninfo.isEmpty else { return [:] }
        try refuseStrayMarks()
        // libpq, too, takes a word that is neither a URL nor a pair for a database's name.
        guard isURL || conninfo.contains("=") else { return ["dbname": conninfo] }
        var message: UnsafeMutablePointer<CChar>?
        guard let options = PQconninfoParse(conninfo, &message) else {
            let reason = message.map { String(cString: $0) } ?? "out of memory"
            PQfreemem(message)
            throw ConnectionError.malformed(reason: Self.cuttingQuotations(reason))
        }
        return Self.taking(options)
    }

    /// Refuses what libpq would read in a way that shows a part of the password as something else:
    /// in `//user:pa/ss@host/db` it sees the host "user", the port "pa" and the database "ss@host/db",
    /// and says so.
    private func refuseStrayMarks() throws {
        guard !conninfo.utf8.contains(0) else {
            throw ConnectionError.malformed(reason: "it holds a NUL character")
        }
        guard isURL else {
            guard !conninfo.contains("=") && (conninfo.contains("//") || conninfo.contains("@"))
            else { return }
            throw ConnectionError.malformed(
                reason: "it is neither a postgresql:// URL nor keyword=value pairs"
            )
        }
        // As libpq looks for them: credentials end at an "@" that comes before any "/".
        let address = conninfo.drop(while: { $0 != "/" }).dropFirst(2)
        let credentials = address.prefix { $0 != "@" && $0 != "/" }
        let mark = address[credentials.endIndex...].first
        let place = address.dropFirst(mark == "@" ? credentials.count + 1 : 0)
        guard !place.prefix(while: { $0 != "?" }).contains("@") else {
            throw ConnectionError.malformed(
                reason: "in the user, the password and the database '@' is written %40, '/' %2F, "
                    + "'?' %3F"
            )
        }
    }

    /// libpq's options that have a value.
    ///
    /// Frees them.
    private static func taking(_ first: UnsafeMutablePointer<PQconninfoOption>) -> [String: String]
    {
        defer { PQconninfoFree(first) }
        var options: [String: String] = [:]
        var option = first
        while let keyword = option.pointee.keyword {
            if let value = option.pointee.val, value.pointee != 0 {
                options[String(cString: keyword)] = String(cString: value)
            }
            option += 1
        }
        return options
    }

    /// A message of libpq's parser without what it quotes: any of it can be a piece of a password.
    private static func cuttingQuotations(_ text: String) -> String {
        var rest = text.trimmingSuffix(while: \.isWhitespace)
        var kept = ""
        // What the parser says it expected is quoted as well; those marks are worth keeping.
        while let start = rest.firstIndex(of: "\"") {
            kept += rest[..<start]
            rest = rest[start...]
            guard let mark = ["\"=\"", "\":\"", "\"/\"", "\"]\""].first(where: rest.hasPrefix)
            else {
                break
            }
            kept += mark
            rest = rest.dropFirst(mark.count)
        }
        guard let end = rest.lastIndex(of: "\""), rest.first == "\"" else { return kept + rest }
        return kept + "\"…\"" + rest[end...].dropFirst()
    }

    private static func quoted(_ value: String) -> String {
        let escaped = replacing("'", in: replacing("\\", in: value, with: "\\\\"), with: "\\'")
        return "'\(escaped)'"
    }

    /// Scalars, not characters: a combining mark that follows makes another character of the last.
    private static func replacing(_ old: String, in text: String, with new: String) -> String {
        String(text.unicodeScalars.replacing(old.unicodeScalars, with: new.unicodeScalars))
    }

    private static func percentEncoded(_ text: String, digits: String) -> String {
        let digits = Array(digits.utf8)
        let encoded = text.utf8.flatMap { byte -> [UInt8] in
            let scalar = Unicode.Scalar(byte)
            if scalar.properties.isAlphabetic && byte < 128 || (48...57).contains(byte)
                || "-._~".utf8.contains(byte)
            {
                return [byte]
            }
            return [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
        }
        return String(decoding: encoded, as: UTF8.self)
    }
}

extension String {
    fileprivate func trimmingSuffix(while predicate: (Character) -> Bool) -> Substring {
        var text = self[...]
        while let last = text.last, predicate(last) { text.removeLast() }
        return text
    }
}
