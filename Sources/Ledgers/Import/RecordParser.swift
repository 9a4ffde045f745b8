internal import Foundation
internal import ProjectionKit
internal import Wording

/// Turns records of JSON into events.
///
/// Used by one thread. A record whose parts stand under their own names costs no allocation.
final class RecordParser {
    private typealias Bytes = UnsafeRawBufferPointer

    /// Why a record is not an event, as a clause.
    private struct RecordError: Error {
        let reason: String
    }

    /// A part of an event as it was found: the text of a JSON value, or plain text.
    private struct Part {
        var bytes: Bytes
        var isPlain = false
    }

    private struct Parts {
        var time: Part?
        var stream: Part?
        var type: Part?
        var data: Part?
        var id: Part?
        var metadata: Part?
        var dataText: Int?
        var metadataText: Int?
        var specVersion: Part?

        subscript(name: ImportFields.Name) -> Part? {
            get {
                switch name {
                case .time: time
                case .stream: stream
                case .type: type
                case .data: data
                case .id: id
                case .metadata: metadata
                }
            }
            set {
                switch name {
                case .time: time = newValue
                case .stream: stream = newValue
                case .type: type = newValue
                case .data: data = newValue
                case .id: id = newValue
                case .metadata: metadata = newValue
                }
            }
        }
    }

    private let options: ImportOptions
    private let isCSV: Bool
    private let prefix: [UInt8]
    private let explicit: [(name: ImportFields.Name, place: ImportFields.Place)]
    private let reader = JSONObjectReader()
    private let checker = JSONObjectReader()
    private let scratch = ScratchBytes(padding: PayloadParser.padding)
    private var parts = Parts()
    /// The fields of the record that no part was taken from, by index.
    private var others: [Int] = []
    private var plain: [UInt8] = []

    init(_ options: ImportOptions, isCSV: Bool) {
        self.options = options
        self.isCSV = isCSV
        prefix = Array(options.streamPrefix.utf8)
        explicit = ImportFields.Name.allCases.compactMap { name in
            options.fields[name].map { (name, $0) }
        }
    }

    /// Adds the event of a record to the batch.
    ///
    /// - Parameters:
    ///   - text: Readable for ``PayloadParser/padding`` bytes past its end.
    ///   - number: The line or element.
    ///   - batch: Left as it is when the record is not an event.
    /// - Returns: Why the record is not an event, as a clause; nil when it was added.
    func parse(_ text: UnsafeRawBufferPointer, number: Int, into batch: NewEventBatch) -> String? {
        scratch.removeAll()
        others.removeAll(keepingCapacity: true)
        parts = Parts()
        do throws(RecordError) {
            let text = try opened(text)
            try collect(of: text)
            try append(text, number, to: batch)
            return nil
        } catch {
            return error.reason
        }
    }

    /// Why rows with these columns cannot be events, as a clause; nil where they can.
    ///
    /// - Parameter row: A row of empty texts, readable as in ``parse(_:number:into:)``.
    /// - Returns: The clause.
    func complaint(aboutColumns row: UnsafeRawBufferPointer) -> String? {
        scratch.removeAll()
        others.removeAll(keepingCapacity: true)
        parts = Parts()
        do throws(RecordError) {
            try collect(of: try opened(row))
        } catch {
            return error.reason
        }
        return [ImportFields.Name.time, .stream, .type].first { parts[$0] == nil }.map(missing)
    }

    /// Opens the record, with what cannot be stored replaced where that was asked for.
    private func opened(_ text: Bytes) throws(RecordError) -> Bytes {
        guard let complaint = reader.open(text) else { return text }
        let findings = JSONFindings(of: text)
        guard let reason = findings.reason else {
            // The parser names JSON, and a row of CSV was none in the file.
            let isText = !isCSV || String(validating: text, as: UTF8.self) != nil
            throw RecordError(reason: "it \(isText ? complaint : "holds bytes that are not UTF-8")")
        }
        guard options.replacesBadText else {
            throw RecordError(reason: "it \(reason); '--replace' replaces that and takes it")
        }
        let replaced = scratch.keep(JSONFindings.replaced(text))
        if let complaint = reader.open(replaced) { throw RecordError(reason: "it \(complaint)") }
        return replaced
    }
}

// What stands where.
extension RecordParser {
    private func collect(of text: Bytes) throws(RecordError) {
        for index in 0..<reader.count {
            let (key, value) = reader.field(at: index)
            guard let name = Self.name(of: key),
                options.fields.isEmpty || options.fields[name] == nil
            else {
                note(key, index, value)
                continue
            }
            if parts[name] != nil {
                throw RecordError(reason: "it has the key '\(name)' twice")
            }
            // An event without metadata, or without an id, may say so.
            parts[name] = Part(bytes: value)
        }
        if !explicit.isEmpty { try collectExplicit(of: text) }
        for name in [ImportFields.Name.time, .stream, .type, .data, .id, .metadata] {
            if let part = parts[name], !part.isPlain, Self.isNull(part.bytes) { parts[name] = nil }
        }
        if let part = parts.metadata, !part.isPlain, part.bytes.elementsEqual("\"\"".utf8) {
            parts.metadata = nil
        }
        if parts.specVersion != nil { takeCloudEvent() }
        takeTexts()
        if isCSV { takeColumns() }
    }

    private static func name(of key: Bytes) -> ImportFields.Name? {
        switch key.count {
        case 2: key.elementsEqual("id".utf8) ? .id : nil
        case 4:
            if key.elementsEqual("time".utf8) {
                .time
            } else if key.elementsEqual("type".utf8) {
                .type
            } else {
                key.elementsEqual("data".utf8) ? .data : nil
            }
        case 6: key.elementsEqual("stream".utf8) ? .stream : nil
        case 8: key.elementsEqual("metadata".utf8) ? .metadata : nil
        default: nil
        }
    }

    private func note(_ key: Bytes, _ index: Int, _ value: Bytes) {
        others.append(index)
        if key.elementsEqual("data_text".utf8), !Self.isNull(value) { parts.dataText = index }
        if key.elementsEqual("metadata_text".utf8), !Self.isNull(value) {
            parts.metadataText = index
        }
        if key.elementsEqual("specversion".utf8) { parts.specVersion = Part(bytes: value) }
    }

    /// A text of JSON, as an export has it where the JSON holds raw line ends.
    private func takeTexts() {
        if let index = parts.dataText, parts.data == nil, options.fields[.data] == nil {
            parts.data = Part(bytes: reader.field(at: index).value)
            others.removeAll { $0 == index }
        }
        if let index = parts.metadataText, parts.metadata == nil, options.fields[.metadata] == nil {
            parts.metadata = Part(bytes: reader.field(at: index).value)
            others.removeAll { $0 == index }
        }
    }

    private func collectExplicit(of text: Bytes) throws(RecordError) {
        for (name, place) in explicit {
            switch place {
            case .constant(let bytes): parts[name] = Part(bytes: scratch.keep(bytes), isPlain: true)
            case .pointer(let pointer):
                guard let first = pointer.tokens.first else {
                    parts[name] = Part(bytes: text)
                    others.removeAll()
                    continue
                }
                for index in 0..<reader.count {
                    let (key, value) = reader.field(at: index)
                    guard key.elementsEqual(first.key) else { continue }
                    if pointer.tokens.count == 1 {
                        others.removeAll { $0 == index }
                        parts[name] = Part(bytes: value)
                    } else if let inner = JSONWalk.value(at: pointer.tokens.dropFirst(), in: value)
                    {
                        parts[name] = Part(bytes: inner)
                    }
                }
            }
        }
    }

    /// A CloudEvent (https://cloudevents.io, structured mode): what is not taken for a part of the
    /// event stays whole in its metadata.
    private func takeCloudEvent() {
        // A key of that name is no attribute of CloudEvents, so the record is something else.
        guard options.fields[.stream] != nil || parts.stream == nil else { return }
        var found: [String: Bytes] = [:]
        for index in 0..<reader.count {
            let (key, value) = reader.field(at: index)
            found[String(decoding: key, as: UTF8.self)] = Self.isNull(value) ? nil : value
        }
        guard let source = found["source"], let id = found["id"] else { return }
        if options.fields[.stream] == nil {
            parts.stream = Part(bytes: found["subject"] ?? source)
        }
        if options.fields[.id] == nil {
            // Only the two together are unique (CloudEvents 1.0, "source" and "id").
            var name: [UInt8] = []
            JSONText.appendUnescaped(inner(source), to: &name)
            name.append(0x20)
            JSONText.appendUnescaped(inner(id), to: &name)
            parts.id = Part(bytes: scratch.keep(name), isPlain: true)
            for index in 0..<reader.count where reader.field(at: index).key.elementsEqual("id".utf8)
            {
                if !others.contains(index) { others.append(index) }
            }
            others.sort()
        }
        takeCloudData(found["data_base64"])
    }

    private func takeCloudData(_ base64: Bytes?) {
        guard options.fields[.data] == nil, parts.data == nil else { return }
        guard let base64 else {
            parts.data = Part(bytes: scratch.keep("{}".utf8), isPlain: true)
            return
        }
        var text: [UInt8] = []
        JSONText.appendUnescaped(inner(base64), to: &text)
        guard let data = Data(base64Encoded: Data(text)) else { return }
        parts.data = Part(bytes: scratch.keep(data), isPlain: true)
        others.removeAll { reader.field(at: $0).key.elementsEqual("data_base64".utf8) }
    }

    /// Of CSV without a column for the data, the columns that are left over are the data.
    private func takeColumns() {
        if let id = parts.id, id.bytes.elementsEqual("\"\"".utf8) { parts.id = nil }
        guard parts.data == nil else { return }
        parts.data = Part(bytes: object(of: others, and: nil))
        others.removeAll()
    }

    private func inner(_ value: Bytes) -> Bytes {
        value.first == UInt8(ascii: "\"") && value.count >= 2
            ? Bytes(rebasing: value[1..<(value.count - 1)]) : value
    }

    private static func isNull(_ text: Bytes) -> Bool {
        text.count == 4 && text[0] == UInt8(ascii: "n") && text.elementsEqual("null".utf8)
    }
}

// What it becomes.
extension RecordParser {
    private func append(
        _ text: Bytes,
        _ number: Int,
        to batch: NewEventBatch
    ) throws(RecordError) {
        let time = try time()
        let stream = try stream()
        let type = try required(.type)
        let data = try object(try part(.data), .data)
        var id: Bytes?
        if let part = parts.id {
            let text = try self.text(part, .id)
            if let complaint = NewEventChecker.complaint(aboutID: text) {
                throw RecordError(reason: complaint)
            }
            id = text
        }
        var metadata: Bytes?
        if let part = parts.metadata { metadata = try object(part, .metadata) }
        if !others.isEmpty { metadata = object(of: others, and: metadata) }
        batch.append(
            id: id,
            time: time,
            stream: stream,
            type: type,
            data: data,
            metadata: metadata,
            number: number
        )
    }

    private func time() throws(RecordError) -> Int64 {
        let part = try part(.time)
        let bytes = part.bytes
        if !part.isPlain, let time = JSONValue.timestamp(bytes) { return time.microseconds }
        let isNumber = bytes.first == UInt8(ascii: "-") || (48...57).contains(bytes.first ?? 0)
        guard part.isPlain || isNumber || bytes.first == UInt8(ascii: "\"") else {
            throw RecordError(reason: "'time' is \(JSONValue.kind(of: bytes)), not a time")
        }
        let text = part.isPlain || isNumber ? bytes : try self.text(part, .time)
        do throws(TimeReadingError) {
            return try options.times.microseconds(of: text)
        } catch {
            throw RecordError(reason: error.reason("'time'"))
        }
    }

    private func stream() throws(RecordError) -> Bytes {
        let stream = try required(.stream)
        guard !prefix.isEmpty else { return stream }
        plain.removeAll(keepingCapacity: true)
        plain.append(contentsOf: prefix)
        plain.append(contentsOf: stream)
        return scratch.keep(plain)
    }

    private func required(_ name: ImportFields.Name) throws(RecordError) -> Bytes {
        let text = try text(try part(name), name)
        if text.isEmpty { throw RecordError(reason: "'\(name)' is empty") }
        return text
    }

    private func part(_ name: ImportFields.Name) throws(RecordError) -> Part {
        guard let part = parts[name] else { throw RecordError(reason: missing(name)) }
        return part
    }

    /// The text of a part; a number counts as the text that it is written with.
    private func text(_ part: Part, _ name: ImportFields.Name) throws(RecordError) -> Bytes {
        let bytes = part.bytes
        if part.isPlain { return bytes }
        switch bytes.first ?? 0 {
        case UInt8(ascii: "\""):
            let inner = inner(bytes)
            guard Memory.firstIndex(of: UInt8(ascii: "\\"), in: inner, from: 0) != nil else {
                return inner
            }
            plain.removeAll(keepingCapacity: true)
            JSONText.appendUnescaped(inner, to: &plain)
            return scratch.keep(plain)
        case UInt8(ascii: "-"), 48...57: return bytes
        default:
            throw RecordError(
                reason: "'\(name)' is \(JSONValue.kind(of: bytes)), not a text or a number"
            )
        }
    }

    /// The text of an object, as it stands, or as it stands in a text.
    private func object(_ part: Part, _ name: ImportFields.Name) throws(RecordError) -> Bytes {
        let bytes = part.bytes
        if !part.isPlain, bytes.first != UInt8(ascii: "\"") {
            let body = bytes.first ?? 0
            guard body == UInt8(ascii: "{") || JSONText.isSpace(body) else {
                throw RecordError(
                    reason: "'\(name)' is \(JSONValue.kind(of: bytes)), not an object"
                )
            }
            return bytes
        }
        let text = try text(part, name)
        guard let complaint = checker.open(text) else { return text }
        if let reason = JSONFindings(of: text).reason {
            guard options.replacesBadText else {
                throw RecordError(
                    reason:
                        "the JSON in the text of '\(name)' \(reason); '--replace' replaces that and takes it"
                )
            }
            let replaced = scratch.keep(JSONFindings.replaced(text))
            if checker.open(replaced) == nil { return replaced }
        }
        throw RecordError(reason: "'\(name)' is a text that holds no JSON object: it \(complaint)")
    }

    /// An object of fields of the record and of those that another object has, which come last, and
    /// so count where both have a key.
    private func object(of fields: [Int], and object: Bytes?) -> Bytes {
        plain.removeAll(keepingCapacity: true)
        plain.append(UInt8(ascii: "{"))
        for index in fields {
            if plain.count > 1 { plain.append(UInt8(ascii: ",")) }
            let (key, value) = reader.field(at: index)
            JSONText.appendString(key, to: &plain)
            plain.append(UInt8(ascii: ":"))
            plain.append(contentsOf: value)
        }
        if let object, let open = Memory.firstIndex(of: UInt8(ascii: "{"), in: object, from: 0) {
            let inner = object[(open + 1)...].drop { JSONText.isSpace($0) }
            if inner.first != UInt8(ascii: "}"), plain.count > 1 { plain.append(UInt8(ascii: ",")) }
            plain.append(contentsOf: inner)
        } else {
            plain.append(UInt8(ascii: "}"))
        }
        return scratch.keep(plain)
    }

    /// Names what the record has, and what to write.
    private func missing(_ name: ImportFields.Name) -> String {
        if case .pointer? = options.fields[name] {
            return "there is nothing where '--field' looks for its \(name); it has \(keys)"
        }
        let missing = [ImportFields.Name.time, .stream, .type, .data].filter {
            parts[$0] == nil && options.fields[$0] == nil
        }
        let quoted = missing.map { "'\($0)'" }
        let list =
            quoted.count < 2
            ? quoted.joined()
            : quoted.dropLast().joined(separator: ", ") + " and " + quoted.suffix(1).joined()
        let isNull = (0..<reader.count).contains {
            let (key, value) = reader.field(at: $0)
            return key.elementsEqual(name.rawValue.utf8) && Self.isNull(value)
        }
        let fields = missing.map { "--field \(example($0))" }.joined(separator: " ")
        return
            "\(list) \(missing.count == 1 ? "is" : "are") \(isNull ? "null" : "missing"); it has \(keys):"
            + " say where to look with '\(fields)'"
    }

    /// What to write for a part that is missing.
    private func example(_ name: ImportFields.Name) -> String {
        let names = (0..<reader.count).map {
            String(decoding: reader.field(at: $0).key, as: UTF8.self)
        }
        let usual = ImportFields.usualNames(of: name)
        let near =
            usual.first { names.contains($0) }
            ?? names.first { other in usual.contains { $0.lowercased() == other.lowercased() } }
            ?? names.first { $0.lowercased() == name.rawValue }
        guard let near else { return "\(name)=/KEY" }
        let shown = TextForPeople.shown("\(name)=\(JSONPointer.text(forKey: near))")
        return String(shown.dropFirst().dropLast())
    }

    private var keys: String {
        guard reader.count > 0 else { return "no keys" }
        let shown = (0..<min(12, reader.count)).map {
            TextForPeople.shown(reader.field(at: $0).key, most: 40)
        }
        return shown.joined(separator: ", ") + (reader.count > 12 ? " and more" : "")
    }
}
