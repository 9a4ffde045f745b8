internal import Foundation
internal import Synchronization

/// A PostgreSQL server's Unix socket under another path, which cuts a connection off when the
/// server answers what a given list of texts has led up to: the client never learns how it ended.
package final class CuttingProxy: Sendable {
    /// The proxy could not be set up.
    package struct Failed: Error {}

    private let listener: Int32
    private let server: String
    private let marks: [[UInt8]]
    private let cuts = Mutex(0)

    /// How many connections were cut off.
    package var cutConnections: Int { cuts.withLock { $0 } }

    private init(listener: Int32, server: String, marks: [String]) {
        self.listener = listener
        self.server = server
        self.marks = marks.map { Array($0.utf8) }
    }

    /// Listens while `body` runs.
    ///
    /// - Parameters:
    ///   - folder: An empty folder; what libpq calls the host.
    ///   - server: The path of the server's own socket.
    ///   - marks: Texts that a client sends in this order; the next answer is lost.
    ///   - isolation: The caller's; `body` runs there.
    ///   - body: What to do while it listens.
    /// - Returns: What `body` returned.
    /// - Throws: ``Failed`` when it cannot listen; what `body` threw.
    package static func withProxy<Result>(
        in folder: String,
        to server: String,
        cuttingAfter marks: [String],
        isolation: isolated (any Actor)? = #isolation,
        _ body: (CuttingProxy) async throws -> Result
    ) async throws -> Result {
        let listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        guard listener >= 0 else { throw Failed() }
        defer {
            // Wakes the thread that accepts.
            shutdown(listener, Int32(SHUT_RDWR))
            close(listener)
        }
        let bound = withAddress(of: "\(folder)/.s.PGSQL.5432") { bind(listener, $0, $1) }
        guard bound == 0, listen(listener, 16) == 0 else { throw Failed() }
        let proxy = CuttingProxy(listener: listener, server: server, marks: marks)
        Thread.detachNewThread { proxy.acceptAll() }
        return try await body(proxy)
    }

    private func acceptAll() {
        while true {
            let client = accept(listener, nil, nil)
            guard client >= 0 else { return }
            let upstream = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
            let connected = Self.withAddress(of: server) { connect(upstream, $0, $1) }
            guard connected == 0 else {
                close(client)
                close(upstream)
                continue
            }
            Thread.detachNewThread { [self] in relay(client, upstream) }
        }
    }

    /// Copies both ways until one side ends.
    private func relay(_ client: Int32, _ upstream: Int32) {
        defer {
            close(client)
            close(upstream)
        }
        var said: [UInt8] = []
        var awaited = marks[...]
        while true {
            var ends = [
                pollfd(fd: client, events: Int16(POLLIN), revents: 0),
                pollfd(fd: upstream, events: Int16(POLLIN), revents: 0),
            ]
            guard poll(&ends, 2, -1) > 0 else { return }
            if ends[0].revents != 0 {
                guard let bytes = Self.read(client) else { return }
                said = Array((said + bytes).suffix(1 << 17))
                while let mark = awaited.first, let range = said.firstRange(of: mark) {
                    said.removeSubrange(..<range.upperBound)
                    awaited = awaited.dropFirst()
                }
                guard Self.write(bytes, to: upstream) else { return }
            }
            if ends[1].revents != 0 {
                guard let bytes = Self.read(upstream) else { return }
                guard !awaited.isEmpty else {
                    cuts.withLock { $0 += 1 }
                    return
                }
                guard Self.write(bytes, to: client) else { return }
            }
        }
    }

    private static func read(_ end: Int32) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: 1 << 16)
        let count = recv(end, &bytes, bytes.count, 0)
        return count > 0 ? Array(bytes.prefix(count)) : nil
    }

    private static func write(_ bytes: [UInt8], to end: Int32) -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty {
            let sent = rest.withUnsafeBytes {
                send(end, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard sent > 0 else { return false }
            rest = rest.dropFirst(sent)
        }
        return true
    }

    private static func withAddress(
        of path: String,
        _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
    ) -> Int32 {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else { return -1 }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
    }
}
