/// The way into a COPY FROM STDIN, lent to the closure that produces the data.
package struct CopyWriter: ~Copyable {
    private let session: ServerSession

    init(session: ServerSession) { self.session = session }

    /// Sends bytes of the COPY format that the statement named.
    ///
    /// Rows may be cut anywhere between two calls. The bytes are copied before the call returns;
    /// it blocks while the server is behind. Every 64 KiB it looks whether the task was cancelled
    /// and whether the server has already refused the data. Once a call has thrown, the whole COPY
    /// fails, also when the closure passes over the error.
    ///
    /// - Throws: `CancellationError`, ``ConnectionError/lost(summary:during:reason:)``, or an error
    ///   that stands for the server's, which the COPY then throws in its place.
    package func write(_ bytes: UnsafeRawBufferPointer) throws {
        try session.sendCopyData(bytes)
    }

    /// Sends bytes of the COPY format; see ``write(_:)-(UnsafeRawBufferPointer)``.
    package func write(_ bytes: [UInt8]) throws {
        try bytes.withUnsafeBytes { try session.sendCopyData($0) }
    }
}
