import Wording

/// How an import reads its records.
package struct ImportOptions: Sendable {
    /// How many bad records to set aside before one stops the import.
    package var skipBad = 0
    /// Where the parts of an event are, if not under their own names.
    package var fields = ImportFields()
    /// What is put before each stream.
    package var streamPrefix = ""
    /// How times are read.
    package var times = TimeReading()
    /// What separates the fields of CSV; nil where the first line tells.
    package var delimiter: UInt8?
    /// Whether characters that cannot be stored are replaced.
    package var replacesBadText = false
    /// Whether times more than a day ahead are taken.
    package var allowsFuture = false
    /// The name under which the ledger remembers how far a growing file was read.
    package var source: String?
    /// Whether a file that was imported before is imported once more.
    package var again = false
    /// The command that imports from standard input in the same way, for advice.
    package var command = "\(ProgramName.current) ledger import -"

    /// What most files need.
    package init() {}
}

/// Where the parts of an event are found in a record.
package struct ImportFields: Sendable {
    /// A part of an event.
    package enum Name: String, CaseIterable, Sendable {
        case time
        case stream
        case type
        case data
        case id
        case metadata
    }

    enum Place: Sendable {
        case pointer(JSONPointer)
        case constant([UInt8])
    }

    private var places: [Name: Place] = [:]

    /// All parts under their own names.
    package init() {}

    /// Reads `NAME=POINTER` or `NAME==TEXT`.
    ///
    /// - Returns: Why it is neither, as a clause; nil when it was taken.
    package mutating func add(_ text: String) -> String? {
        // Scalars, as in `JSONPointer`.
        let scalars = text.unicodeScalars
        guard let sign = scalars.firstIndex(of: "="),
            let name = Name(rawValue: String(text[..<sign]))
        else {
            let names = Name.allCases.map(\.rawValue).joined(separator: ", ")
            return "it must be NAME=POINTER, and NAME one of \(names)"
        }
        guard places[name] == nil else { return "'\(name)' is given twice" }
        let value = String(scalars[scalars.index(after: sign)...])
        if value.unicodeScalars.first == "=" {
            let constant = String(value.unicodeScalars.dropFirst())
            if constant.utf8.contains(0) || constant.isEmpty {
                return "the text for '\(name)' is empty"
            }
            places[name] = .constant(Array(constant.utf8))
            return nil
        }
        guard let pointer = JSONPointer(value) else {
            let other = TextForPeople.shown("\(name)=\(JSONPointer.text(forKey: value))")
            return "'\(name)' must be a JSON pointer, as in \(other), or '=' and a text"
        }
        places[name] = .pointer(pointer)
        return nil
    }

    /// Nil for a part under its own name.
    subscript(name: Name) -> Place? { places[name] }

    var isEmpty: Bool { places.isEmpty }

    /// The fields that most exports have under another name, best guess first.
    static func usualNames(of name: Name) -> [String] {
        switch name {
        case .time:
            [
                "timestamp", "created_at", "createdAt", "occurred_at", "occurredAt", "recorded_at",
                "event_time", "eventTime", "created", "date", "datetime", "ts", "at", "when",
            ]
        case .stream:
            [
                "stream_id", "streamId", "stream_name", "streamName", "aggregate_id", "aggregateId",
                "aggregate", "entity_id", "entityId", "subject", "topic", "key",
            ]
        case .type: ["event_type", "eventType", "event_name", "eventName", "name", "kind", "event"]
        case .data:
            ["payload", "body", "event_data", "eventData", "content", "value", "event", "message"]
        case .id: ["event_id", "eventId", "uuid", "message_id"]
        case .metadata: ["meta", "headers", "event_metadata"]
        }
    }
}

/// Bytes that a parser makes for one record: each piece stays where it is until the next record.
///
/// Used by one thread.
final class ScratchBytes {
    private var blocks: [UnsafeMutableRawBufferPointer] = []
    private var block = 0
    private var used = 0
    private let padding: Int

    /// - Parameter padding: Bytes that are readable behind each piece.
    init(padding: Int) {
        self.padding = padding
    }

    deinit { for block in blocks { block.deallocate() } }

    func removeAll() {
        block = 0
        used = 0
    }

    /// A copy of the bytes.
    func keep(_ bytes: some Collection<UInt8>) -> UnsafeRawBufferPointer {
        let target = reserve(bytes.count)
        target.copyBytes(from: bytes)
        return UnsafeRawBufferPointer(target)
    }

    private func reserve(_ count: Int) -> UnsafeMutableRawBufferPointer {
        while block < blocks.count, blocks[block].count - used < count + padding {
            block += 1
            used = 0
        }
        if block == blocks.count {
            let size = max(1 << 16, count + padding)
            blocks.append(.allocate(byteCount: size, alignment: 16))
            blocks[block].initializeMemory(as: UInt8.self, repeating: 0)
            used = 0
        }
        defer { used += count + padding }
        return UnsafeMutableRawBufferPointer(rebasing: blocks[block][used..<(used + count)])
    }
}
