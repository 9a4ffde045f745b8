internal import ProjectionKit

/// Checks events that are appended one by one, as an import checks its lines.
struct NewEventChecker {
    private let reader = JSONObjectReader()

    /// Adds the event to the batch unless a ledger cannot take it.
    ///
    /// - Returns: Why not, as a clause; nil when it was added.
    mutating func append(_ event: NewEvent, to batch: NewEventBatch) -> String? {
        if let complaint = complaint(about: event) { return complaint }
        append(event, checkedTo: batch)
        return nil
    }

    private func complaint(about event: NewEvent) -> String? {
        for (name, value) in [("stream", event.stream), ("type", event.type)] {
            if value.isEmpty { return "its \(name) is empty" }
            if value.utf8.contains(0) { return "its \(name) holds U+0000" }
        }
        if let time = event.time, !EventID.times.contains(time.milliseconds) {
            return "its time is outside the years 0001 to 9999"
        }
        var padded = Array(event.data.utf8)
        let length = padded.count
        padded.append(contentsOf: repeatElement(0, count: PayloadParser.padding))
        return padded.withUnsafeBytes { bytes in
            reader.open(UnsafeRawBufferPointer(rebasing: bytes[..<length])).map { "its data \($0)" }
        }
    }

    private func append(_ event: NewEvent, checkedTo batch: NewEventBatch) {
        var (stream, type, data) = (event.stream, event.type, event.data)
        stream.withUTF8 { stream in
            type.withUTF8 { type in
                data.withUTF8 { data in
                    batch.append(
                        id: event.id,
                        time: event.time?.milliseconds,
                        stream: UnsafeRawBufferPointer(stream),
                        type: UnsafeRawBufferPointer(type),
                        data: UnsafeRawBufferPointer(data)
                    )
                }
            }
        }
    }
}
