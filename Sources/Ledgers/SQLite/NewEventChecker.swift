internal import ProjectionKit

/// What a ledger takes: the one place that says so, for imports and for single events.
///
/// Used by one thread.
struct NewEventChecker {
    /// Bytes that an id may have.
    static let longestID = 255

    private let reader = JSONObjectReader()

    /// Why a stream or a type cannot be stored, as a clause; nil when it can.
    static func complaint(about text: UnsafeRawBufferPointer, named name: String) -> String? {
        if text.isEmpty { return "its \(name) is empty" }
        if text.contains(0) { return "its \(name) holds U+0000" }
        return nil
    }

    /// Why an id cannot be stored, as a clause; nil when it can.
    static func complaint(aboutID id: UnsafeRawBufferPointer) -> String? {
        if id.isEmpty { return "its id is empty" }
        if id.count > longestID { return "its id is longer than \(longestID) bytes" }
        return id.contains(0) ? "its id holds U+0000" : nil
    }

    /// Why a time cannot be stored, as a clause; nil when it can.
    static func complaint(aboutTime microseconds: Int64) -> String? {
        Timestamp.ledgerYears.contains(microseconds)
            ? nil : "its time is outside the years 0001 to 9999"
    }

    /// Adds the event to the batch unless a ledger cannot take it.
    ///
    /// - Returns: Why not, as a clause; nil when it was added.
    mutating func append(_ event: NewEvent, to batch: NewEventBatch) -> String? {
        var (stream, type, data) = (event.stream, event.type, event.data)
        return stream.withUTF8 { stream in
            type.withUTF8 { type in
                data.withUTF8 { data in
                    append(
                        event,
                        stream: UnsafeRawBufferPointer(stream),
                        type: UnsafeRawBufferPointer(type),
                        data: UnsafeRawBufferPointer(data),
                        to: batch
                    )
                }
            }
        }
    }

    private func append(
        _ event: NewEvent,
        stream: UnsafeRawBufferPointer,
        type: UnsafeRawBufferPointer,
        data: UnsafeRawBufferPointer,
        to batch: NewEventBatch
    ) -> String? {
        let id = event.id.map { Array($0.utf8) }
        let metadata = event.metadata.map { Array($0.utf8) }
        let complaint =
            Self.complaint(about: stream, named: "stream")
            ?? Self.complaint(about: type, named: "type")
            ?? event.time.flatMap { Self.complaint(aboutTime: $0.microseconds) }
            ?? id?.withUnsafeBytes { Self.complaint(aboutID: $0) }
            ?? self.complaint(aboutJSON: data, named: "data")
            ?? metadata?.withUnsafeBytes { self.complaint(aboutJSON: $0, named: "metadata") }
        if let complaint { return complaint }
        lend(id) { id in
            lend(metadata) { metadata in
                batch.append(
                    id: id,
                    time: event.time?.microseconds,
                    stream: stream,
                    type: type,
                    data: data,
                    metadata: metadata
                )
            }
        }
        return nil
    }

    private func lend(_ bytes: [UInt8]?, _ body: (UnsafeRawBufferPointer?) -> Void) {
        guard let bytes else { return body(nil) }
        bytes.withUnsafeBytes { body($0) }
    }

    private func complaint(
        aboutJSON text: UnsafeRawBufferPointer,
        named name: String
    ) -> String? {
        // The parser looks further than the text goes.
        var padded = Array(text)
        padded.append(contentsOf: repeatElement(0, count: PayloadParser.padding))
        return padded.withUnsafeBytes { bytes in
            reader.open(UnsafeRawBufferPointer(rebasing: bytes[..<text.count]))
                .map { "its \(name) \($0)" }
        }
    }
}
