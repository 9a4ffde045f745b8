import FoundationEssentials

@testable import Ledgers
@testable import ProjectionKit

/// The parser and its C shim, beside the import's grammar and a reading of our own.
enum JSONCheck {
    static func run(_ input: [UInt8]) throws {
        var reader = PlainJSONReader(input)
        let value = reader.document()
        let isTooDeep = reader.isTooDeep
        let findings = input.withUnsafeBytes { JSONFindings(of: $0) }
        try input.withPadding(PayloadParser.padding) { text in
            let parser = PayloadParser()
            let complaint = parser.complaint(about: text)
            if !isTooDeep {
                let isSound = value.map { !$0.holdsWhatCannotBeStored } ?? false
                try require(
                    isSound == (complaint == nil),
                    "the parser takes what is sound (\(complaint ?? "it took it"))"
                )
                try require(findings.isValid == (value != nil), "the grammar knows JSON")
                try require(
                    (findings.isValid && findings.reason == nil) == isSound,
                    "the grammar says what cannot be stored"
                )
            }
            try index(text, by: parser, value, isTooDeep: isTooDeep)
        }
        try replace(input, findings)
        try uuid(input)
    }

    /// The index of an object holds its fields, where they stand.
    private static func index(
        _ text: UnsafeRawBufferPointer,
        by parser: PayloadParser,
        _ value: PlainJSON?,
        isTooDeep: Bool
    ) throws {
        for opening in [UInt8(ascii: "{"), UInt8(ascii: "[")] {
            let serial = parser.makeSerial()
            guard parser.open(text, serial: serial, opening: opening) else {
                try require(
                    parser.complaint(aboutOpening: serial) != nil,
                    "what is not opened has a complaint"
                )
                let isOne: Bool =
                    switch value {
                    case .object: opening == UInt8(ascii: "{")
                    case .array: opening == UInt8(ascii: "[")
                    default: false
                    }
                try require(
                    !isOne || isTooDeep || value?.holdsWhatCannotBeStored == true,
                    "what is sound is opened"
                )
                continue
            }
            // Inner values are not looked at, so that more is opened than is sound.
            for index in 0..<parser.count where opening == UInt8(ascii: "[") {
                try require(
                    isInside(parser.element(at: index), text),
                    "element \(index) lies in the text"
                )
            }
            guard opening == UInt8(ascii: "{") else { continue }
            for index in 0..<parser.count {
                try require(
                    isInside(parser.field(at: index).value, text),
                    "field \(index) lies in the text"
                )
            }
            guard case .object(let fields)? = value else { continue }
            try require(parser.count == fields.count, "every field is found")
            for (index, field) in fields.enumerated() {
                let found = parser.field(at: index)
                try require(
                    field.key.map { found.key.elementsEqual($0) } ?? true,
                    "key \(index) is found"
                )
                try require(
                    found.value.elementsEqual(text[field.text]),
                    "value \(index) is found where it stands"
                )
            }
        }
    }

    private static func isInside(
        _ part: UnsafeRawBufferPointer,
        _ text: UnsafeRawBufferPointer
    ) -> Bool {
        guard let start = part.baseAddress, let base = text.baseAddress else {
            return part.isEmpty
        }
        return start >= base && start + part.count <= base + text.count
    }

    /// What was replaced can be stored.
    private static func replace(_ input: [UInt8], _ findings: JSONFindings) throws {
        guard findings.isValid else { return }
        let replaced = input.withUnsafeBytes { JSONFindings.replaced($0) }
        let after = replaced.withUnsafeBytes { JSONFindings(of: $0) }
        try require(after.isValid && after.reason == nil, "what was replaced can be stored")
        try require(findings.reason != nil || replaced == input, "what is sound stays as it is")
    }

    /// Foundation reads the same UUIDs; it reads more than those, such as one with a line end in it.
    private static func uuid(_ input: [UInt8]) throws {
        let characters = Array(input.prefix(36))
        let found = characters.withUnsafeBytes { JSONValue.plainUUID($0) }
        let text = String(decoding: characters, as: UTF8.self)
        let form = /[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}/.asciiOnlyDigits()
        let expected = text.wholeMatch(of: form) == nil ? nil : UUID(uuidString: text)
        try require(found == expected, "Foundation reads the same UUID")
    }
}
