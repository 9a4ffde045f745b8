internal import CLibPQ
internal import Dispatch
internal import Glibc
internal import Synchronization

/// A libpq connection: the calls that block, and everything that holds a C pointer.
///
/// Not `Sendable`: libpq allows one thread at a time, and ``PostgresConnection`` keeps the session
/// on its executor.
final class ServerSession {
    /// The server's process, as what answered at the beginning named it.
    let announcedPID: Int32
    let serverVersion: Int32
    let canceller: StatementCanceller
    let notices = NoticeList()
    private let summary: String
    private let handle: OpaquePointer
    private var copy = CopyProgress()
    /// When the statement of the moment was sent.
    private var sentAt = ContinuousClock.now

    /// Connects; blocks until the server has answered or the time is over.
    ///
    /// - Throws: ``ConnectionError``.
    init(_ settings: ConnectionSettings) throws {
        let parameters = try settings.parameters()
        summary = settings.summary
        let connected = withCStrings(parameters.map(\.key)) { keys in
            withCStrings(parameters.map(\.value)) { PQconnectdbParams(keys, $0, 1) }
        }
        guard let connected else {
            throw ConnectionError.unreachable(summary: summary, reason: "out of memory")
        }
        handle = connected
        announcedPID = PQbackendPID(connected)
        serverVersion = PQserverVersion(connected)
        canceller = StatementCanceller(PQgetCancel(connected), socket: PQsocket(connected))
        guard PQstatus(connected) == CONNECTION_OK else {
            let reason = settings.redacting(text(PQerrorMessage(connected)))
            throw ConnectionError(
                refusal: reason,
                needsPassword: PQconnectionNeedsPassword(connected) == 1,
                summary: summary,
                sqlState: { Self.sqlStateOfRefusal(parameters) }
            )
        }
        PQsetNoticeReceiver(
            connected,
            { list, result in
                guard let list, let result else { return }
                let notices = Unmanaged<NoticeList>.fromOpaque(list).takeUnretainedValue()
                func field(_ field: ServerAnswer.Field) -> String {
                    text(PQresultErrorField(result, field.code))
                }
                notices.add(field(.message))
                if field(.severity) == "FATAL" {
                    notices.lastWords = "\(field(.message)) (SQLSTATE \(field(.sqlState)))"
                }
            },
            Unmanaged.passUnretained(notices).toOpaque()
        )
    }

    /// Tries to connect once more, and asks for the SQLSTATE of what the server answers.
    ///
    /// libpq shows it in its message when that is set before the answer comes, which works for
    /// connections that are made step by step alone.
    ///
    /// - Returns: Nil where the server does not answer within 10 s, or lets us in.
    private static func sqlStateOfRefusal(_ parameters: [(key: String, value: String)]) -> String? {
        let started = withCStrings(parameters.map(\.key)) { keys in
            withCStrings(parameters.map(\.value)) { PQconnectStartParams(keys, $0, 1) }
        }
        guard let started else { return nil }
        defer { PQfinish(started) }
        PQsetErrorVerbosity(started, PQERRORS_SQLSTATE)
        let end = ContinuousClock.now + .seconds(10)
        var state = PGRES_POLLING_WRITING
        while state == PGRES_POLLING_READING || state == PGRES_POLLING_WRITING, .now < end {
            let events = state == PGRES_POLLING_READING ? POLLIN : POLLOUT
            var socket = pollfd(fd: PQsocket(started), events: Int16(events), revents: 0)
            guard poll(&socket, 1, 1_000) > 0 else { continue }
            state = PQconnectPoll(started)
        }
        guard state == PGRES_POLLING_FAILED else { return nil }
        // Of several addresses the last one counts.
        return text(PQerrorMessage(started)).matches(of: /:\s+([0-9A-Z]{5})(?=\n|$)/).last
            .map { String($0.1) }
    }

    /// What no server needs to say that it is gone; proxies wait for a minute and more.
    private static let longSilence = Duration.seconds(2)

    deinit {
        canceller.close()
        PQfinish(handle)
    }

    var transactionStatus: TransactionStatus {
        switch PQtransactionStatus(handle) {
        case PQTRANS_IDLE: .idle
        case PQTRANS_ACTIVE: .active
        case PQTRANS_INTRANS: .inTransaction
        case PQTRANS_INERROR: .failed
        default: .unknown
        }
    }

    /// Runs a message of the simple protocol; the answer to its last statement.
    func execute(_ sql: String) throws -> ServerAnswer {
        try send(sql)
        return try collect(during: sql)
    }

    /// Runs a message of the simple protocol; the answers to all its statements.
    func executeEach(_ sql: String) throws -> [ServerAnswer] {
        try send(sql)
        return try collectAll(during: sql)
    }

    /// Runs one statement of the extended protocol.
    func query(_ sql: String, _ parameters: [PostgresValue]) throws -> ServerAnswer {
        try check(sql)
        guard parameters.count <= 65535 else {
            throw StatementError.tooManyParameters(
                count: parameters.count,
                during: SQLText.opening(of: sql)
            )
        }
        let texts = parameters.map(\.wireText)
        for (index, text) in texts.enumerated() where text?.utf8.contains(0) == true {
            throw StatementError.parameterHoldsNUL(
                number: index + 1,
                during: SQLText.opening(of: sql)
            )
        }
        sentAt = .now
        let sent = withCStrings(texts) { values in
            PQsendQueryParams(handle, sql, Int32(texts.count), nil, values, nil, nil, 0)
        }
        guard sent == 1 else { throw lost(during: sql) }
        return try collect(during: sql)
    }

    private func check(_ sql: String) throws {
        guard !sql.utf8.contains(0) else {
            throw StatementError.textHoldsNUL(during: SQLText.opening(of: sql))
        }
    }

    private func send(_ sql: String) throws {
        try check(sql)
        sentAt = .now
        guard PQsendQuery(handle, sql) == 1 else { throw lost(during: sql) }
    }

    private func nextAnswer() -> ServerAnswer? {
        PQgetResult(handle).map { ServerAnswer($0) }
    }

    /// Reads answers until the server is ready for the next statement.
    ///
    /// - Returns: The last of them.
    /// - Throws: The first error among them.
    private func collect(
        during sql: String,
        after first: ServerAnswer? = nil
    ) throws -> ServerAnswer {
        guard let last = try collectAll(during: sql, after: first).last else {
            throw lost(during: sql)
        }
        return last
    }

    private func collectAll(
        during sql: String,
        after first: ServerAnswer? = nil
    ) throws -> [ServerAnswer] {
        var answers: [ServerAnswer] = []
        var refusal: ServerAnswer?
        var heldCopy = false
        var next = first ?? nextAnswer()
        while let answer = next {
            switch answer.kind {
            case .copyIn:
                heldCopy = true
                // When this fails the connection is gone, and the next answer says so.
                PQputCopyEnd(handle, "no data was expected here")
            case .copyOut:
                heldCopy = true
                try discardCopyData(during: sql)
            case .failed: refusal = refusal ?? answer
            case .done: answers.append(answer)
            }
            next = nextAnswer()
        }
        if refusal?.serverError.sqlState.isEmpty == true {
            // When a server crashes it says so before it closes the connection. libpq then fails to
            // send the statement and reads that much, but not yet the end that stands behind it.
            PQconsumeInput(handle)
        }
        guard PQstatus(handle) == CONNECTION_OK else {
            throw lost(during: sql, refusal: refusal?.serverError)
        }
        guard !heldCopy else {
            throw StatementError.copyNotExpected(during: SQLText.opening(of: sql))
        }
        if let refusal { throw refusal.serverError }
        return answers
    }

    private func lost(during sql: String, refusal: ServerError? = nil) -> ConnectionError {
        var reason = text(PQerrorMessage(handle))
        if canceller.isCutOff {
            reason =
                "The server did not react to the request to cancel within "
                + "\(StatementCanceller.patienceSeconds) s, so the connection was cut off."
        } else if let refusal, !refusal.sqlState.isEmpty {
            reason = "\(refusal.message) (SQLSTATE \(refusal.sqlState))"
        } else if let lastWords = notices.lastWords {
            reason = lastWords
        } else {
            let silence = ContinuousClock.now - sentAt
            if reason.isEmpty { reason = "The server closed it." }
            if silence > Self.longSilence {
                // Keepalives of TCP do not count for a proxy that looks at the data.
                reason +=
                    " The statement had been silent for \(silence.components.seconds) s: a proxy or "
                    + "firewall in between that ends silent connections needs a longer timeout."
            }
        }
        return .lost(
            summary: summary,
            during: SQLText.opening(of: sql),
            reason: reason
        )
    }
}

// MARK: - COPY

extension ServerSession {
    /// How far the COPY of the moment has come.
    private struct CopyProgress {
        var statement = ""
        var bytesSinceLook = 0
        var canPeek = false
        var failure: (any Error)?
    }

    /// What ``CopyWriter`` throws when the server has answered before the data ended.
    private struct RefusedEarly: Error, CustomStringConvertible {
        let description = "The server refused the data; the COPY throws its reason."
    }

    /// Bytes sent between two looks at the socket.
    ///
    /// Small enough to fit into what a UNIX socket has free when Linux calls it writable (3/4 of
    /// 208 KiB, unix_writable), so that libpq does not meet a full buffer and read the server's
    /// answer away unseen.
    private static let pieceSize = 65536

    /// Runs `COPY … FROM STDIN`.
    ///
    /// - Returns: The number of rows.
    func copyIn(_ sql: String, _ produce: (borrowing CopyWriter) throws -> Void) throws -> Int {
        try send(sql)
        try awaitCopy(.copyIn, during: sql)
        // Below TLS or GSSAPI a byte on the socket says nothing about the message in it.
        let isPlain = PQsslInUse(handle) == 0 && PQgssEncInUse(handle) == 0
        copy = CopyProgress(statement: sql, canPeek: isPlain)
        defer { copy = CopyProgress() }
        do {
            try produce(CopyWriter(session: self))
            if let failure = copy.failure { throw failure }
        } catch {
            try abandonCopyIn(because: error, during: sql)
        }
        guard PQputCopyEnd(handle, nil) == 1 else { throw lost(during: sql) }
        return try collect(during: sql).affectedRows
    }

    private func awaitCopy(_ kind: ServerAnswer.Kind, during sql: String) throws {
        let start = nextAnswer()
        guard start?.kind != kind else { return }
        _ = try collect(during: sql, after: start)
        throw StatementError.copyExpected(during: SQLText.opening(of: sql))
    }

    /// Sends COPY data; called through ``CopyWriter``.
    func sendCopyData(_ bytes: UnsafeRawBufferPointer) throws {
        if let failure = copy.failure { throw failure }
        do {
            var rest = bytes[...]
            while !rest.isEmpty {
                if copy.bytesSinceLook >= Self.pieceSize { try lookAround() }
                let piece = rest.prefix(Self.pieceSize - copy.bytesSinceLook)
                let sent = UnsafeRawBufferPointer(rebasing: piece).withMemoryRebound(
                    to: CChar.self
                ) { PQputCopyData(handle, $0.baseAddress, Int32($0.count)) }
                guard sent == 1 else { throw lost(during: copy.statement) }
                copy.bytesSinceLook += piece.count
                rest = rest.dropFirst(piece.count)
            }
        } catch {
            copy.failure = error
            throw error
        }
    }

    /// Waits until the socket takes another piece, and looks for a reason to stop.
    private func lookAround() throws {
        copy.bytesSinceLook = 0
        try Task.checkCancellation()
        guard copy.canPeek else { return }
        var socket = pollfd(fd: PQsocket(handle), events: Int16(POLLIN | POLLOUT), revents: 0)
        while poll(&socket, 1, -1) < 0 && errno == EINTR {}
        guard Int32(socket.revents) & POLLIN != 0 else { return }
        var first: UInt8 = 0
        let peeked = recv(socket.fd, &first, 1, Int32(MSG_PEEK | MSG_DONTWAIT))
        guard peeked == 1 else { return }
        guard first != UInt8(ascii: "E") else { throw RefusedEarly() }
        // A notice. Reading it may stop in the middle of the next message, and from then on the
        // first byte means nothing: an error is then found at the end of the data.
        copy.canPeek = false
        PQconsumeInput(handle)
        PQfreemem(PQnotifies(handle))
    }

    private func abandonCopyIn(because error: any Error, during sql: String) throws -> Never {
        PQputCopyEnd(handle, "the data was not complete")
        do {
            _ = try collect(during: sql)
        } catch let reason where error is RefusedEarly {
            throw reason
        } catch {
            // The server's complaint about the data that ends early; the cause is the error below.
        }
        throw error
    }

    /// Runs `COPY … TO STDOUT`.
    ///
    /// - Returns: The number of rows.
    func copyOut(_ sql: String, _ receive: (UnsafeRawBufferPointer) throws -> Void) throws -> Int {
        try send(sql)
        try awaitCopy(.copyOut, during: sql)
        var failure: (any Error)?
        while let piece = try copyData(during: sql) {
            defer { piece.deallocate() }
            guard failure == nil else { continue }
            do {
                try Task.checkCancellation()
                try receive(piece.bytes)
            } catch {
                failure = error
                canceller.cancelRunning()
            }
        }
        do {
            let rows = try collect(during: sql).affectedRows
            if let failure { throw failure }
            return rows
        } catch {
            throw failure ?? error
        }
    }

    private func discardCopyData(during sql: String) throws {
        while let piece = try copyData(during: sql) { piece.deallocate() }
    }

    /// A piece of COPY data in memory of libpq.
    private struct CopyData {
        let start: UnsafeMutablePointer<CChar>
        let count: Int

        var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: start, count: count) }

        func deallocate() { PQfreemem(start) }
    }

    private func copyData(during sql: String) throws -> CopyData? {
        var start: UnsafeMutablePointer<CChar>?
        let count = PQgetCopyData(handle, &start, 0)
        guard let start, count > 0 else {
            guard count == -1 || PQstatus(handle) == CONNECTION_OK else {
                throw lost(during: sql)
            }
            return nil
        }
        return CopyData(start: start, count: Int(count))
    }
}

// MARK: - Answers

/// What the server answered to one statement.
///
/// `@unchecked Sendable`: a `PGresult` is never written after `PQgetResult` has handed it out, and
/// libpq allows any number of threads to read it (PostgreSQL manual, 34.20 Behavior in Threaded
/// Programs); it is freed when the last reference is gone.
final class ServerAnswer: @unchecked Sendable {
    enum Kind { case done, copyIn, copyOut, failed }

    /// The `PG_DIAG_…` codes of postgres_ext.h, which Swift does not import.
    enum Field: Unicode.Scalar {
        case severity = "V"
        case sqlState = "C"
        case message = "M"
        case detail = "D"
        case hint = "H"
        case context = "W"
        case schema = "s"
        case table = "t"
        case column = "c"
        case constraint = "n"
        case position = "P"

        var code: Int32 { Int32(rawValue.value) }
    }

    let columns: [String]
    private let positions: [String: Int]
    private let handle: OpaquePointer

    fileprivate init(_ handle: OpaquePointer) {
        self.handle = handle
        columns = (0..<PQnfields(handle)).map { text(PQfname(handle, $0)) }
        positions = Dictionary(
            zip(columns, columns.indices),
            uniquingKeysWith: { left, _ in left }
        )
    }

    deinit { PQclear(handle) }

    var kind: Kind {
        switch PQresultStatus(handle) {
        case PGRES_COPY_IN, PGRES_COPY_BOTH: .copyIn
        case PGRES_COPY_OUT: .copyOut
        case PGRES_COMMAND_OK, PGRES_TUPLES_OK, PGRES_EMPTY_QUERY: .done
        default: .failed
        }
    }

    var rowCount: Int { Int(PQntuples(handle)) }
    var affectedRows: Int { Int(text(PQcmdTuples(handle))) ?? 0 }
    var commandTag: String { text(PQcmdStatus(handle)) }

    func position(of column: String) -> Int {
        guard let position = positions[column] else {
            preconditionFailure("The result has no column \(column), but \(columns).")
        }
        return position
    }

    /// The bytes of a field, which live as long as the answer; nil for NULL.
    func bytes(row: Int, column: Int) -> UnsafeRawBufferPointer? {
        precondition(row < rowCount && column < columns.count, "There is no such field.")
        let (row, column) = (Int32(row), Int32(column))
        guard PQgetisnull(handle, row, column) == 0 else { return nil }
        return UnsafeRawBufferPointer(
            start: PQgetvalue(handle, row, column),
            count: Int(PQgetlength(handle, row, column))
        )
    }

    var serverError: ServerError {
        ServerError(
            sqlState: field(.sqlState) ?? "",
            severity: field(.severity) ?? "ERROR",
            message: field(.message) ?? text(PQresultErrorMessage(handle)),
            detail: field(.detail),
            hint: field(.hint),
            context: field(.context),
            schema: field(.schema),
            table: field(.table),
            column: field(.column),
            constraint: field(.constraint),
            position: field(.position).flatMap { Int($0) }
        )
    }

    private func field(_ field: Field) -> String? {
        PQresultErrorField(handle, field.code).map { String(cString: $0) }
    }
}

/// Warnings of the server, in the order in which they came; the oldest give way to the 200th.
///
/// Not `Sendable`: libpq calls back on the thread that waits for the server, which is the session's.
final class NoticeList {
    private var notices: [String] = []
    /// Why the server ended the session while no statement was running: libpq takes that for a
    /// notice.
    fileprivate(set) var lastWords: String?

    fileprivate func add(_ notice: String) {
        if notices.count == 200 { notices.removeFirst() }
        notices.append(notice)
    }

    /// The warnings since the last call.
    func take() -> [String] {
        defer { notices = [] }
        return notices
    }
}

// MARK: - Cancelling

/// Interrupts the statement of the moment, from any thread.
///
/// A server that stands still, or a network that carries nothing, takes no request. The connection is
/// then cut off on this side, and the call that waits for the server returns.
///
/// `@unchecked Sendable`: the pointer is written once, by `init`, `PQcancel` may be called from any
/// thread (PostgreSQL manual, 34.7 Canceling Queries in Progress), and everything else is behind the
/// lock.
final class StatementCanceller: @unchecked Sendable {
    /// Seconds that a server has to react to a request to cancel.
    ///
    /// It takes milliseconds where it works at all. All that a command does after a signal is to fit
    /// into the 30 s that Kubernetes waits before SIGKILL (`terminationGracePeriodSeconds`).
    static let patienceSeconds = 5

    private struct Turn {
        var last: UInt64 = 0
        var running: UInt64?
        /// The session's socket under a number of its own, which nobody else closes; -1 for none.
        var socket: Int32
        var isCutOff = false
    }

    private let handle: OpaquePointer?
    private let turn: Mutex<Turn>
    /// Requests on their way.
    private let requests = DispatchGroup()
    /// Each request opens a connection and waits for its end, so it needs a thread that may block.
    private let queue = DispatchQueue(label: "reprise.postgres.cancel")
    /// Where nothing blocks.
    private static let clock = DispatchQueue(label: "reprise.postgres.patience")

    fileprivate init(_ handle: OpaquePointer?, socket: Int32) {
        self.handle = handle
        turn = Mutex(Turn(socket: socket < 0 ? -1 : fcntl(socket, F_DUPFD_CLOEXEC, 3)))
    }

    deinit { PQfreeCancel(handle) }

    /// Whether the connection was cut off, because the server did not react.
    var isCutOff: Bool { turn.withLock { $0.isCutOff } }

    /// Begins a statement; its number is what ``cancel(_:)`` asks for.
    func begin() -> UInt64 {
        turn.withLock { turn in
            turn.last += 1
            turn.running = turn.last
            return turn.last
        }
    }

    /// Ends the statement; waits for a request to cancel it that is on its way.
    ///
    /// One that stays on its way could reach a later statement, so the connection is not used again.
    func end() {
        let isCutOff = turn.withLock { turn in
            turn.running = nil
            return turn.isCutOff
        }
        guard !isCutOff,
            requests.wait(timeout: .now() + .seconds(Self.patienceSeconds)) == .timedOut
        else {
            return
        }
        turn.withLock { Self.cutOff(&$0) }
    }

    /// Asks the server to interrupt that statement, again and again until it has ended, and cuts the
    /// connection off where it does not.
    ///
    /// Again, because a request that arrives before the statement does is forgotten by the server.
    func cancel(_ statement: UInt64) {
        queue.async { self.request(statement, repeatingAfterMs: 10) }
        cutOff(statement, afterSeconds: Self.patienceSeconds)
    }

    /// Cuts the connection off when that statement still runs by then.
    func cutOff(_ statement: UInt64, afterSeconds seconds: Int) {
        Self.clock.asyncAfter(deadline: .now() + .seconds(seconds)) {
            self.turn.withLock { turn in
                if turn.running == statement { Self.cutOff(&turn) }
            }
        }
    }

    /// The same for the statement of the moment, if there is one.
    func cancelRunning() {
        guard let statement = turn.withLock({ $0.running }) else { return }
        cancel(statement)
    }

    /// The session ends: its socket is not touched any more.
    fileprivate func close() {
        turn.withLock { turn in
            if turn.socket >= 0 { Glibc.close(turn.socket) }
            turn.socket = -1
        }
    }

    private static func cutOff(_ turn: inout Turn) {
        turn.isCutOff = true
        if turn.socket >= 0 { shutdown(turn.socket, Int32(SHUT_RDWR)) }
    }

    private func request(_ statement: UInt64, repeatingAfterMs pause: Int) {
        let isRunning = turn.withLock { turn in
            // The next statement begins when the request has come back: see ``end()``.
            guard turn.running == statement else { return false }
            requests.enter()
            return true
        }
        guard isRunning else { return }
        send()
        requests.leave()
        queue.asyncAfter(deadline: .now() + .milliseconds(pause)) {
            self.request(statement, repeatingAfterMs: min(2 * pause, 500))
        }
    }

    private func send() {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { message in
            // A refused request is repeated, and a lost server is noticed by the statement itself.
            _ = PQcancel(handle, message.baseAddress, Int32(message.count))
        }
    }
}

// MARK: - C strings

/// The text behind a C string without the white space at its end; empty for nil.
private func text(_ pointer: UnsafePointer<CChar>?) -> String {
    guard let pointer else { return "" }
    var text = String(cString: pointer)[...]
    while text.last?.isWhitespace == true { text.removeLast() }
    return String(text)
}

/// Lends `strings` as an array of C strings that ends with a nil, as libpq wants it.
private func withCStrings<Result>(
    _ strings: [String?],
    _ body: ([UnsafePointer<CChar>?]) throws -> Result
) rethrows -> Result {
    var storage: [CChar] = []
    let offsets = strings.map { string in
        string.map { string in
            defer { storage.append(contentsOf: string.utf8CString) }
            return storage.count
        }
    }
    return try storage.withUnsafeBufferPointer { storage in
        let start = storage.baseAddress
        return try body(
            offsets.map { offset in offset.flatMap { start?.advanced(by: $0) } } + [nil]
        )
    }
}
