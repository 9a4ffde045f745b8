internal import Foundation
public import LedgerKit
public import ProjectionKit
internal import Synchronization

/// A ledger in a text file: an event a line, in the order in which they were appended.
///
/// A position is the number of the line, from 1, and a digest of it, so that another line in the same
/// place is noticed. The first line names the file.
public final class LinesLedger: Ledger {
    /// The path.
    public let place: String
    /// A minute.
    public let bucketWidth: Int64 = 60_000
    /// In order: lines are only added behind the others.
    public let arrival = Arrival.inOrder

    private let name: String
    private let contents: Mutex<Contents>

    /// What was read so far; the file only grows.
    private struct Contents {
        var events: [LedgerEvent] = []
        var bytesRead: UInt64
    }

    /// Opens the file of an address such as `lines:/var/lib/events.ndjson`.
    ///
    /// - Throws: ``LinesLedgerError``.
    public convenience init(address: String) throws {
        try self.init(path: String(address.drop { $0 != ":" }.dropFirst()))
    }

    /// Opens a file.
    ///
    /// - Throws: ``LinesLedgerError``.
    public init(path: String) throws {
        place = path
        guard let file = FileHandle(forReadingAtPath: path) else {
            throw LinesLedgerError(
                path: path,
                reason: "there is no such file, or it cannot be read"
            )
        }
        defer { try? file.close() }
        let first = try file.read(upToCount: 64) ?? Data()
        guard let end = first.firstIndex(of: UInt8(ascii: "\n")) else {
            throw LinesLedgerError(path: path, reason: "its first line names no ledger")
        }
        name = String(decoding: first[..<end], as: UTF8.self)
        contents = Mutex(Contents(bytesRead: UInt64(end) + 1))
    }

    /// Makes an empty file.
    public static func create(path: String) throws {
        try Data("\(UUID().uuidString)\n".utf8).write(
            to: URL(fileURLWithPath: path),
            options: .withoutOverwriting
        )
    }

    /// Adds lines and waits for the disk. One process at a time may.
    public static func append(_ lines: [Line], to path: String) throws {
        let encoder = JSONEncoder()
        var data = Data()
        for line in lines {
            data += try encoder.encode(line)
            data.append(UInt8(ascii: "\n"))
        }
        let file = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
        defer { try? file.close() }
        try file.seekToEnd()
        try file.write(contentsOf: data)
        try file.synchronize()
    }

    /// An event as the file has it; payload and metadata are texts in it, so that they stay what they
    /// were to the byte.
    public struct Line: Codable, Sendable {
        /// Nil for an event without one.
        public var id: String?
        /// Microseconds since 1970.
        public var time: Int64
        public var stream: String
        public var type: String
        /// A JSON object.
        public var payload: String
        /// A JSON object; nil for none.
        public var metadata: String?

        public init(
            id: String? = nil,
            time: Int64,
            stream: String,
            type: String,
            payload: String,
            metadata: String? = nil
        ) {
            self.id = id
            self.time = time
            self.stream = stream
            self.type = type
            self.payload = payload
            self.metadata = metadata
        }
    }

    public func identity() -> String { name }

    public func safePosition() throws -> Position? { try events().last?.position }

    public func holds(_ position: Position) throws -> Bool {
        let events = try events()
        guard position.words.0 > 0, position.words.0 <= UInt64(events.count) else { return false }
        return events[Int(position.words.0) - 1].position == position
    }

    public func lastPosition(before time: Timestamp) throws -> Position? {
        // An event is filed at its own time or at that of an event before it, so that the first one
        // of its time or later ends the search.
        let events = try events()
        return events.prefix { $0.time < time }.last?.position
    }

    public func buckets(in span: PositionSpan) throws -> [BucketCount] {
        var counts: [BucketCount] = []
        for event in try events(in: span) {
            let bucket = Bucket(start: event.bucketStart, width: bucketWidth)
            let before = counts.last?.bucket == bucket ? counts.removeLast().events : 0
            counts.append(BucketCount(bucket: bucket, events: before + 1, last: event.position))
        }
        return counts
    }

    public func watch() throws -> any LedgerWatch { LinesWatch(path: place) }

    public func withReader<Result>(
        of span: PositionSpan,
        _ body: (any LedgerReader) throws -> Result
    ) throws -> Result {
        try body(LinesReader(events: try events(in: span), bucketWidth: bucketWidth))
    }

    private func events(in span: PositionSpan) throws -> ArraySlice<LedgerEvent> {
        let events = try events()
        // Positions ascend, so that both ends are found without looking at every event.
        let begin =
            span.after.map { after in events.partitioningIndex { $0.position > after } } ?? 0
        let end = events.partitioningIndex { $0.position > span.through }
        return begin < end ? events[begin..<end] : []
    }

    /// All events, those included that were added since.
    private func events() throws -> [LedgerEvent] {
        try contents.withLock { contents in
            guard let file = FileHandle(forReadingAtPath: place) else {
                throw LinesLedgerError(path: place, reason: "it is there no longer")
            }
            defer { try? file.close() }
            try file.seek(toOffset: contents.bytesRead)
            let data = try file.readToEnd() ?? Data()
            // A line that is being written has no end yet.
            guard let end = data.lastIndex(of: UInt8(ascii: "\n")) else { return contents.events }
            for line in data[..<end].split(separator: UInt8(ascii: "\n")) {
                contents.events.append(try event(line, behind: contents.events.last))
            }
            contents.bytesRead += UInt64(end - data.startIndex) + 1
            return contents.events
        }
    }

    private func event(_ data: Data, behind last: LedgerEvent?) throws -> LedgerEvent {
        let number = (last?.position.words.0 ?? 0) + 1
        guard let line = try? JSONDecoder().decode(Line.self, from: data) else {
            throw LinesLedgerError(path: place, reason: "line \(number + 1) is no event")
        }
        let time = Timestamp(microseconds: line.time)
        let own = Bucket(containing: time.milliseconds, width: bucketWidth).start
        // FNV-1a (http://www.isthe.com/chongo/tech/comp/fnv/).
        let digest = data.reduce(0xcbf2_9ce4_8422_2325 as UInt64) {
            ($0 ^ UInt64($1)) &* 0x0100_0000_01b3
        }
        return LedgerEvent(
            position: Position(number, digest),
            time: time,
            bucketStart: max(own, last?.bucketStart ?? own),
            type: line.type,
            stream: line.stream,
            payload: line.payload,
            id: line.id,
            metadata: line.metadata
        )
    }
}

extension Array {
    /// The index of the first element that fits, in an array that begins with those that do not.
    fileprivate func partitioningIndex(where fits: (Element) -> Bool) -> Int {
        var (low, high) = (0, count)
        while low < high {
            let middle = (low + high) / 2
            if fits(self[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}

/// Why a file cannot be read.
public struct LinesLedgerError: Error, CustomStringConvertible {
    let path: String
    let reason: String

    public var description: String {
        """
        The ledger '\(path)' cannot be read: \(reason).
        Nothing that readers see has changed.
        Check the path behind 'lines:'.
        """
    }
}

/// Looks at the size of the file.
private final class LinesWatch: LedgerWatch {
    private let path: String
    private let size: Mutex<UInt64>

    init(path: String) {
        self.path = path
        size = Mutex(Self.size(of: path))
    }

    func hasChanged() -> Bool {
        size.withLock { size in
            let now = Self.size(of: path)
            defer { size = now }
            return now != size
        }
    }

    private static func size(of path: String) -> UInt64 {
        let attributes = try? FileManager.default.attributesOfItem(atPath: path)
        return attributes?[.size] as? UInt64 ?? 0
    }
}

/// Hands out what was there when the reader was opened.
private final class LinesReader: LedgerReader {
    private var rest: ArraySlice<LedgerEvent>
    private let count: Int
    private let bucketWidth: Int64

    init(events: ArraySlice<LedgerEvent>, bucketWidth: Int64) {
        rest = events
        count = events.count
        self.bucketWidth = bucketWidth
    }

    func fill(_ batch: EventBatch) -> Bool {
        batch.removeAll()
        batch.bucketWidth = bucketWidth
        while batch.byteCount < 1 << 20, let event = rest.popFirst() { batch.append(event) }
        batch.share = count == 0 ? nil : Double(count - rest.count) / Double(count)
        return batch.count > 0
    }
}
