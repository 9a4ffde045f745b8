internal import ProjectionKit

/// Turns lines of NDJSON into events.
///
/// Used by one thread.
struct EventLineParser {
    private let reader = JSONObjectReader()

    /// Adds the event of a line to the batch.
    ///
    /// - Parameters:
    ///   - line: Readable for ``PayloadParser/padding`` bytes past its end.
    ///   - number: The line's number, which orders events of one millisecond.
    ///   - batch: Left as it is when the line is not an event.
    /// - Returns: Why the line is not an event, as a clause; nil when it was added.
    func parse(
        _ line: UnsafeRawBufferPointer,
        number: Int,
        into batch: NewEventBatch
    ) -> String? {
        if let complaint = reader.open(line) { return "it \(complaint)" }
        do throws(FieldError) {
            let time = try time()
            let data = try field("data")
            guard data.first == UInt8(ascii: "{") else {
                return "'data' is \(JSONValue.kind(of: data)), not an object"
            }
            let id = try id()
            return try withText("stream") { stream throws(FieldError) in
                try withText("type") { type in
                    batch.append(
                        id: id,
                        time: time,
                        stream: stream,
                        type: type,
                        data: data,
                        number: number
                    )
                    return nil
                }
            }
        } catch {
            return error.reason
        }
    }

    private struct FieldError: Error {
        let reason: String
    }

    private func field(_ key: StaticString) throws(FieldError) -> UnsafeRawBufferPointer {
        guard let value = reader.value(of: key) else {
            throw FieldError(reason: "'\(key)' is missing or null")
        }
        return value
    }

    private func time() throws(FieldError) -> Int64 {
        let value = try field("time")
        guard value.first == UInt8(ascii: "\"") else {
            throw FieldError(reason: "'time' is \(JSONValue.kind(of: value)), not a text")
        }
        guard let time = JSONValue.timestamp(value)?.microseconds else {
            throw FieldError(
                reason: "'time' is not an RFC 3339 time of the years 0001 to 9999,"
                    + " such as 2026-03-01T09:30:00.125Z"
            )
        }
        return time
    }

    private func id() throws(FieldError) -> UnsafeRawBufferPointer? {
        guard let value = reader.value(of: "id") else { return nil }
        guard value.first == UInt8(ascii: "\""), value.count > 2 else {
            throw FieldError(reason: "'id' is \(JSONValue.kind(of: value)), not a text")
        }
        return UnsafeRawBufferPointer(rebasing: value[1..<(value.count - 1)])
    }

    private func withText<Result>(
        _ key: StaticString,
        _ body: (UnsafeRawBufferPointer) throws(FieldError) -> Result
    ) throws(FieldError) -> Result {
        let value = try field(key)
        guard value.first == UInt8(ascii: "\"") else {
            throw FieldError(reason: "'\(key)' is \(JSONValue.kind(of: value)), not a text")
        }
        guard value.count > 2 else { throw FieldError(reason: "'\(key)' is empty") }
        let inner = UnsafeRawBufferPointer(rebasing: value[1..<(value.count - 1)])
        guard inner.contains(UInt8(ascii: "\\")) else { return try body(inner) }
        // An escaped text is copied; they are rare in names.
        guard let text = JSONValue.string(value) else {
            throw FieldError(reason: "'\(key)' holds an escape that stands for no character")
        }
        let bytes = Array(text.utf8)
        var result: Swift.Result<Result, FieldError>?
        bytes.withUnsafeBytes { buffer in
            do throws(FieldError) {
                result = .success(try body(buffer))
            } catch {
                result = .failure(error)
            }
        }
        guard let result else { preconditionFailure("the body of a closure did not run") }
        return try result.get()
    }
}

