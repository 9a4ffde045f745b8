internal import Foundation
internal import Glibc

/// The file where an import sets bad lines aside.
///
/// It is made when the first one comes, and added to when it is there already.
final class BadLineFile {
    private struct Entry: Encodable {
        let file: String
        let line: Int
        let reason: String
        let text: String
    }

    private let path: String
    private let source: String
    private let encoder = JSONEncoder()
    private var file: Int32?

    init(path: String, source: String) {
        self.path = path
        self.source = source
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    }

    deinit {
        if let file { close(file) }
    }

    /// Adds a line; bytes that are not UTF-8 become U+FFFD.
    func append(line: Int, reason: String, text: UnsafeRawBufferPointer) throws {
        let entry = Entry(
            file: source,
            line: line,
            reason: reason,
            text: String(decoding: text, as: UTF8.self)
        )
        var bytes = try encoder.encode(entry)
        bytes.append(0x0a)
        let file = try opened()
        try bytes.withUnsafeBytes { buffer in
            var rest = buffer[...]
            while !rest.isEmpty {
                let count = write(
                    file,
                    UnsafeRawBufferPointer(rebasing: rest).baseAddress,
                    rest.count
                )
                if count < 0, errno == EINTR { continue }
                guard count >= 0 else { throw failure() }
                rest = rest.dropFirst(count)
            }
        }
    }

    /// Waits until what was added is on the disk.
    func synchronize() throws {
        guard let file else { return }
        guard fsync(file) == 0 else { throw failure() }
    }

    private func opened() throws -> Int32 {
        if let file { return file }
        let opened = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o666)
        guard opened >= 0 else { throw failure() }
        file = opened
        return opened
    }

    private func failure() -> LedgerError {
        .failed(path: path, reason: String(cString: strerror(errno)))
    }
}
