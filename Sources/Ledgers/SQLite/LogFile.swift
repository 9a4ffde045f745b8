internal import Foundation
internal import Glibc

/// The log beside a ledger's file (https://www.sqlite.org/walformat.html), read without SQLite.
///
/// SQLite takes the log to end before the first frame that is not whole, and says nothing: what a
/// process that died was writing ends so. What was committed behind a frame that was damaged later is
/// lost to it in the same way.
struct LogFile {
    private let path: String

    /// The log of a ledger: beside its file, not beside a link to it, as SQLite has it.
    init(of ledger: String) {
        path = Self.resolved(ledger) + "-wal"
    }

    /// The path of a file itself; the path as given where there is none.
    static func resolved(_ path: String) -> String {
        guard let found = realpath(path, nil) else { return path }
        defer { free(found) }
        return String(cString: found)
    }

    private static let headerBytes = 32
    private static let frameHeaderBytes = 24
    /// The least page that SQLite knows.
    private static let leastPage = 512

    /// Whether there is a log with a frame in it.
    var hasFrames: Bool {
        var status = stat()
        guard stat(path, &status) == 0 else { return false }
        return status.st_size >= Self.headerBytes + Self.frameHeaderBytes + Self.leastPage
    }

    /// The first version of a page in the log; nil where it has none.
    func firstVersion(ofPage page: Int64) -> [UInt8]? {
        guard hasFrames, let file = FileHandle(forReadingAtPath: path) else { return nil }
        defer { try? file.close() }
        guard let header = try? file.read(upToCount: Self.headerBytes),
            header.count == Self.headerBytes
        else { return nil }
        let scan = LogScan(header: [UInt8](header))
        guard scan.isSound else { return nil }
        var offset = UInt64(Self.headerBytes)
        while true {
            try? file.seek(toOffset: offset)
            guard let frame = try? file.read(upToCount: Self.frameHeaderBytes),
                frame.count == Self.frameHeaderBytes, scan.isOfThisLog([UInt8](frame))
            else { return nil }
            if LogScan.pageNumber(of: [UInt8](frame)) == page {
                return (try? file.read(upToCount: scan.pageSize)).map { [UInt8]($0) }
            }
            offset += UInt64(Self.frameHeaderBytes + scan.pageSize)
        }
    }

    /// What is wrong with the log, as a clause; nil when nothing is.
    ///
    /// A writer may be at work: what it has half done looks like damage, and not twice.
    func damage() -> String? {
        var last: String?
        for attempt in 0..<5 {
            if attempt > 0 { usleep(20_000) }
            guard let found = damageNow(), last == nil || found == last else { return nil }
            last = found
        }
        return last
    }

    private func damageNow() -> String? {
        guard hasFrames, let file = FileHandle(forReadingAtPath: path) else { return nil }
        defer { try? file.close() }
        guard let header = try? file.read(upToCount: Self.headerBytes),
            header.count == Self.headerBytes
        else { return nil }
        var scan = LogScan(header: [UInt8](header))
        guard scan.isSound else { return "the log's header is damaged: nothing of the log is read" }
        let frameBytes = Self.frameHeaderBytes + scan.pageSize
        while let frame = try? file.read(upToCount: frameBytes), frame.count == frameBytes {
            scan.add([UInt8](frame))
        }
        guard let broken = scan.firstBroken, scan.commitsBehind > 0 else { return nil }
        return "frame \(broken) of the log is damaged: what was committed behind it, at least "
            + "\(scan.commitsBehind) times, is not read any more"
    }
}

/// Follows the checksums of a log from frame to frame.
private struct LogScan {
    let pageSize: Int
    let isSound: Bool
    /// The first frame that does not follow from those before it, from 1.
    private(set) var firstBroken: Int?
    /// Frames behind it that end a transaction of the same log.
    private(set) var commitsBehind = 0

    private let salts: ArraySlice<UInt8>
    private let isBigEndian: Bool
    private var sum: (UInt32, UInt32)
    private var frames = 0

    init(header: [UInt8]) {
        let magic = Self.word(header, 0)
        isBigEndian = magic & 1 == 1
        pageSize = Int(Self.word(header, 8))
        salts = header[16..<24]
        sum = Self.checksum(header[0..<24], (0, 0), isBigEndian)
        isSound =
            magic & ~1 == 0x377f_0682 && sum.0 == Self.word(header, 24)
            && sum.1 == Self.word(header, 28) && (512...65_536).contains(pageSize)
    }

    /// Whether a frame was written since the log began anew.
    func isOfThisLog(_ frame: [UInt8]) -> Bool { frame[8..<16].elementsEqual(salts) }

    static func pageNumber(of frame: [UInt8]) -> Int64 { Int64(word(frame, 0)) }

    mutating func add(_ frame: [UInt8]) {
        frames += 1
        let isOfThisLog = isOfThisLog(frame)
        guard firstBroken == nil else {
            if isOfThisLog, Self.word(frame, 4) != 0 { commitsBehind += 1 }
            return
        }
        let header = Self.checksum(frame[0..<8], sum, isBigEndian)
        let next = Self.checksum(frame[24...], header, isBigEndian)
        if isOfThisLog, next.0 == Self.word(frame, 16), next.1 == Self.word(frame, 20) {
            sum = next
        } else {
            firstBroken = frames
        }
    }

    private static func word(_ bytes: [UInt8], _ offset: Int) -> UInt32 {
        bytes[offset..<(offset + 4)].reduce(0) { $0 << 8 | UInt32($1) }
    }

    /// The checksum of the format, section 4.
    private static func checksum(
        _ bytes: ArraySlice<UInt8>,
        _ start: (UInt32, UInt32),
        _ isBigEndian: Bool
    ) -> (UInt32, UInt32) {
        bytes.withUnsafeBytes { bytes in
            var (first, second) = start
            var offset = 0
            while offset + 8 <= bytes.count {
                var left = bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self)
                var right = bytes.loadUnaligned(fromByteOffset: offset + 4, as: UInt32.self)
                left = isBigEndian ? UInt32(bigEndian: left) : UInt32(littleEndian: left)
                right = isBigEndian ? UInt32(bigEndian: right) : UInt32(littleEndian: right)
                first = first &+ left &+ second
                second = second &+ right &+ first
                offset += 8
            }
            return (first, second)
        }
    }
}
