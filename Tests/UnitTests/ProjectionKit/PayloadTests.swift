import Foundation
import ProjectionKit
import TestSupport
import Testing

@Suite("Payload: numbers")
struct PayloadNumberTests {
    @Test(
        "reads whole numbers",
        arguments: [
            ("0", 0), ("-0", 0), ("7", 7), ("-7", -7), ("9223372036854775807", .max),
            ("-9223372036854775808", .min), (" 12 ", 12),
        ] as [(String, Int64)]
    )
    func int64(text: String, value: Int64) throws {
        try withPayload("{\"a\":\(text)}") { payload throws in
            #expect(try payload.int64("a") == value)
            #expect(try payload.int64IfPresent("a") == value)
        }
    }

    @Test(
        "refuses what is no whole number of 64 bits",
        arguments: [
            ("9223372036854775808", "a number"), ("-9223372036854775809", "a number"),
            ("1.0", "a number"), ("1e3", "a number"), ("01", "a number"), ("-", "a number"),
            (String(repeating: "9", count: 400), "a number"), ("\"5\"", "a text"),
            ("true", "true or false"), ("[1]", "an array"), ("{}", "an object"),
        ]
    )
    func noInt64(text: String, kind: String) throws {
        let wanted = PayloadError(path: "$.a", reason: "is \(kind), not a whole number of 64 bits")
        try withPayload("{\"a\":\(text)}") { payload throws in
            #expect(throws: wanted) { try payload.int64("a") }
            #expect(throws: wanted) { try payload.int64IfPresent("a") }
        }
    }

    @Test("refuses a whole number beyond 32 bits")
    func int32() throws {
        try withPayload(#"{"a":2147483647,"b":-2147483648,"c":2147483648}"#) { payload throws in
            #expect(try payload.int32("a") == .max)
            #expect(try payload.int32IfPresent("b") == .min)
            #expect(throws: PayloadError.self) { try payload.int32("c") }
        }
    }

    @Test(
        "reads doubles to the nearest",
        arguments: [
            ("1", 1), ("-0.5", -0.5), ("1e308", 1e308), ("5e-324", .leastNonzeroMagnitude),
            ("0.1", 0.1),
            ("1E+2", 100), ("123456789012345678901234567890", 1.2345678901234568e29),
        ]
    )
    func double(text: String, value: Double) throws {
        try withPayload("{\"a\":\(text)}") { payload throws in
            #expect(try payload.double("a") == value)
        }
    }

    @Test(
        "refuses what is no double",
        arguments: ["1e309", "-1e400", "\"1\"", "0x10", "1.", "01", "1e", "-", "true", "[]"]
    )
    func noDouble(text: String) throws {
        try withPayload("{\"a\":\(text)}") { payload throws in
            #expect(throws: PayloadError.self) { try payload.double("a") }
        }
    }

    @Test(
        "reads decimal numbers exactly, as numbers and as texts",
        arguments: [
            "0", "-1", "12.50", "0.0001", "1e3", "1E-3", "12345678.9",
            "99999999999999999999999999999999999999", "0.12345678901234567890123456789012345678",
            "1e50",
        ]
    )
    func decimal(text: String) throws {
        let value = try #require(Decimal(string: text))
        try withPayload("{\"a\":\(text),\"b\":\"\(text)\"}") { payload throws in
            #expect(try payload.decimal("a") == value)
            #expect(try payload.decimal("b") == value)
            #expect(try payload.decimalIfPresent("b") == value)
        }
    }

    @Test(
        "refuses a decimal number it cannot hold exactly",
        arguments: [
            "1e-9223372036854775808", "1e9223372036854775807",
            "100000000000000000000000000000000000001", "\"\"", "\"-\"", "\"+1\"", "\".5\"",
            "\"5.\"", "\"1e\"", "\"1 \"", "\"0x1\"", "\"NaN\"", "1e201", "1e127", "1e-200", "true",
        ]
    )
    func noDecimal(text: String) throws {
        try withPayload("{\"a\":\(text)}") { payload throws in
            #expect(throws: PayloadError.self) { try payload.decimal("a") }
        }
    }

    @Test("reads true and false and nothing else")
    func bool() throws {
        try withPayload(#"{"a":true,"b":false,"c":"true","d":1,"e":tru}"#) { payload throws in
            #expect(try payload.bool("a"))
            #expect(try payload.boolIfPresent("b") == false)
            for key in ["c", "d", "e"] as [StaticString] {
                #expect(throws: PayloadError.self) { try payload.bool(key) }
            }
        }
    }
}

@Suite("Payload: texts")
struct PayloadTextTests {
    @Test(
        "resolves escapes",
        arguments: [
            (#""""#, ""), (#""plain""#, "plain"), (#""é–😀""#, "é–😀"),
            (#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{c}\n\r\t"), (#""\u00e9\u00E9""#, "éé"),
            (#""\ud83d\ude00""#, "😀"), (#""a\\u0000""#, #"a\u0000"#), (#""\uffff""#, "\u{ffff}"),
        ]
    )
    func string(text: String, value: String) throws {
        try withPayload("{\"a\":\(text)}") { payload throws in
            #expect(try payload.string("a") == value)
        }
    }

    @Test(
        "refuses half surrogates, unknown escapes and \\u0000",
        arguments: [
            #""\ud83d""#, #""\ud83dx""#, #""\ude00""#, #""\ud83d\u0041""#, #""\x""#, #""\u12""#,
            #""\u0000""#, #""a\u0000b""#, "5", "null5",
        ]
    )
    func noString(text: String) throws {
        try withPayload("{\"a\":\(text)}") { payload throws in
            #expect(throws: PayloadError.self) { try payload.string("a") }
        }
    }

    @Test("reads a text of a megabyte")
    func longString() throws {
        let long = String(repeating: "é\\n", count: 300_000)
        try withPayload("{\"a\":\"\(long)\"}") { payload throws in
            #expect(try payload.string("a").utf8.count == 900_000)
        }
    }

    @Test("reads UUIDs in either case")
    func uuid() throws {
        let text = "7d444840-9dc0-11d1-b245-5ffdce74fad2"
        let value = try #require(UUID(uuidString: text))
        try withPayload("{\"a\":\"\(text)\",\"b\":\"\(text.uppercased())\"}") { payload throws in
            #expect(try payload.uuid("a") == value)
            #expect(try payload.uuidIfPresent("b") == value)
        }
    }

    @Test(
        "refuses what is no UUID",
        arguments: [
            "\"7d444840-9dc0-11d1-b245-5ffdce74fad\"", "\"7d444840-9dc0-11d1-b245-5ffdce74fadg\"",
            "\"7d4448409dc0-11d1-b245-5ffdce74fad2a\"", "\"7d444840-9dc0-11d1-b245_5ffdce74fad2\"",
            "\"{7d444840-9dc0-11d1-b245-5ffdce74fad2}\"", "5", "\"\"",
        ]
    )
    func noUUID(text: String) throws {
        try withPayload("{\"a\":\(text)}") { payload throws in
            #expect(throws: PayloadError(path: "$.a", reason: "is \(kind(text)), not a UUID")) {
                try payload.uuid("a")
            }
        }
    }

    @Test("reads every UUID, and none with a byte that is no digit", arguments: [51] as [UInt64])
    func anyUUID(seed: UInt64) throws {
        print("UUIDs: seed \(seed)")
        var random = SeededRandom(seed: seed)
        for round in 0..<1_000 {
            let value = UUIDWords(high: random.next(), low: random.next())
            let text = round % 2 == 0 ? value.description : value.description.uppercased()
            try withPayload("{\"a\":\"\(text)\"}") { payload throws in
                #expect(try payload.uuid("a") == value.uuid)
            }
            var bytes = Array(text.utf8)
            let place = Int.random(in: 0..<36, using: &random)
            let byte = UInt8.random(in: 0x20...0x7e, using: &random)
            let isDigit = "0123456789abcdefABCDEF".utf8.contains(byte)
            let isDash = bytes[place] == UInt8(ascii: "-")
            guard isDash ? byte != UInt8(ascii: "-") : !isDigit else { continue }
            guard byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\") else { continue }
            bytes[place] = byte
            try withEvent(bytes: Array("{\"a\":\"".utf8) + bytes + Array("\"}".utf8)) { event in
                #expect(throws: PayloadError.self) { try event.payload.uuid("a") }
            }
        }
    }

    private func kind(_ text: String) -> String { text.hasPrefix("\"") ? "a text" : "a number" }

    @Test("reads times and days")
    func times() throws {
        try withPayload(
            #"{"t":"2026-03-01T09:30:00.125+01:00","d":"2024-02-29","x":"2023-02-29","n":5}"#
        ) { payload throws in
            #expect(try payload.timestamp("t").description == "2026-03-01T08:30:00.125Z")
            #expect(try payload.timestampIfPresent("t") != nil)
            #expect(try payload.day("d").components == (2024, 2, 29))
            #expect(try payload.dayIfPresent("d") != nil)
            #expect(throws: PayloadError.self) { try payload.day("x") }
            #expect(throws: PayloadError.self) { try payload.timestamp("x") }
            #expect(throws: PayloadError.self) { try payload.timestamp("n") }
        }
    }

    @Test("hands JSON on as it stands")
    func jsonText() throws {
        try withPayload(#"{"a": {"x": [1, 2 ] } , "b":[ ] ,"c": "t\u00e9" , "d": 1e400 }"#) {
            payload throws in
            #expect(try payload.jsonText("a").text == #"{"x": [1, 2 ] }"#)
            #expect(try payload.jsonText("b").text == "[ ]")
            #expect(try payload.jsonText("c").text == #""t\u00e9""#)
            #expect(try payload.jsonTextIfPresent("d")?.text == "1e400")
            #expect(payload.json.hasPrefix(#"{"a": {"#))
        }
    }
}

@Suite("Payload: missing and null")
struct PayloadAbsenceTests {
    @Test("a missing field and a null are the same to every accessor", arguments: ["{}", nullA])
    func absent(json: String) throws {
        let missing = PayloadError(path: "$.a", reason: "is missing or null")
        try withPayload(json) { payload throws in
            #expect(throws: missing) { try payload.int64("a") }
            #expect(throws: missing) { try payload.int32("a") }
            #expect(throws: missing) { try payload.double("a") }
            #expect(throws: missing) { try payload.decimal("a") }
            #expect(throws: missing) { try payload.bool("a") }
            #expect(throws: missing) { try payload.string("a") }
            #expect(throws: missing) { try payload.uuid("a") }
            #expect(throws: missing) { try payload.timestamp("a") }
            #expect(throws: missing) { try payload.day("a") }
            #expect(throws: missing) { try payload.jsonText("a") }
            #expect(throws: missing) { try payload.strings("a") }
            #expect(throws: missing) { try payload.int64s("a") }
            #expect(throws: missing) { try payload.uuids("a") }
            #expect(throws: missing) { _ = try payload.object("a").json }
            #expect(throws: missing) { try payload.forEachObject("a") { _ in } }
        }
    }

    @Test("the accessors IfPresent give nil for both", arguments: ["{}", nullA])
    func absentIfPresent(json: String) throws {
        try withPayload(json) { payload throws in
            #expect(try payload.contains("a") == false)
            #expect(try payload.int64IfPresent("a") == nil)
            #expect(try payload.int32IfPresent("a") == nil)
            #expect(try payload.doubleIfPresent("a") == nil)
            #expect(try payload.decimalIfPresent("a") == nil)
            #expect(try payload.boolIfPresent("a") == nil)
            #expect(try payload.stringIfPresent("a") == nil)
            #expect(try payload.uuidIfPresent("a") == nil)
            #expect(try payload.timestampIfPresent("a") == nil)
            #expect(try payload.dayIfPresent("a") == nil)
            #expect(try payload.jsonTextIfPresent("a") == nil)
        }
    }

    private static let nullA = #"{"b":1,"a": null }"#
}

@Suite("Payload: structure")
struct PayloadStructureTests {
    @Test("the last of several equal keys counts")
    func duplicateKeys() throws {
        try withPayload(#"{"a":1,"b":9,"a":"x","a":3}"#) { payload throws in
            #expect(try payload.int64("a") == 3)
            #expect(try payload.int64("b") == 9)
        }
        try withPayload(#"{"a":1,"a":null}"#) { payload throws in
            #expect(try payload.contains("a") == false)
        }
    }

    @Test("a key written with escapes is the same key")
    func escapedKeys() throws {
        try withPayload(#"{"order\u0049d":1,"\u00e9":2,"q\"":3,"\\":4,"":5}"#) { payload throws in
            #expect(try payload.int64("orderId") == 1)
            #expect(try payload.int64("é") == 2)
            #expect(try payload.int64("q\"") == 3)
            #expect(try payload.int64("\\") == 4)
            #expect(try payload.int64("") == 5)
        }
    }

    @Test("a key is not found inside a string, a longer key or a nested object")
    func keyLookalikes() throws {
        try withPayload(#"{"x":"\"a\":1","aa":2,"y":{"a":3},"A":4}"#) { payload throws in
            #expect(try payload.contains("a") == false)
        }
    }

    @Test("white space around everything changes nothing")
    func whitespace() throws {
        try withPayload(" \t\r\n{ \"a\" \n:\t[ 1 , 2 ]\r, \"b\" : \"x\" } \n") { payload throws in
            #expect(try payload.int64s("a") == [1, 2])
            #expect(try payload.string("b") == "x")
        }
    }

    @Test("reads arrays and names the element that does not fit")
    func arrays() throws {
        let uuid = "7d444840-9dc0-11d1-b245-5ffdce74fad2"
        try withPayload(
            "{\"s\":[\"x\",\"\\n\"],\"i\":[],\"u\":[\"\(uuid)\"],\"m\":[1,\"x\",null]}"
        ) { payload throws in
            #expect(try payload.strings("s") == ["x", "\n"])
            #expect(try payload.int64s("i").isEmpty)
            #expect(try payload.uuids("u").map(\.uuidString) == [uuid.uppercased()])
            #expect(
                throws: PayloadError(
                    path: "$.m[1]",
                    reason: "is a text, not a whole number of 64 bits"
                )
            ) { try payload.int64s("m") }
            #expect(
                throws: PayloadError(
                    path: "$.m[0]",
                    reason: "is a number, not a text without \\u0000"
                )
            ) { try payload.strings("m") }
            #expect(throws: PayloadError(path: "$.u", reason: "is an array, not an object")) {
                _ = try payload.object("u").json
            }
        }
    }

    @Test("reads nested objects, several at once, with their paths")
    func nested() throws {
        try withPayload(#"{"a":{"b":{"c":1},"d":2},"e":{"d":3}}"#) { payload throws in
            let first = try payload.object("a")
            let second = try payload.object("e")
            #expect(try first.int64("d") == 2)
            #expect(try second.int64("d") == 3)
            #expect(try first.object("b").int64("c") == 1)
            #expect(try first.int64("d") == 2)
            #expect(try payload.object("e").int64("d") == 3)
            #expect(throws: PayloadError(path: "$.a.b.x", reason: "is missing or null")) {
                try first.object("b").int64("x")
            }
        }
    }

    @Test("walks arrays of objects inside arrays of objects")
    func nestedArrays() throws {
        let json = #"{"l":[{"n":1,"m":[{"x":10},{"x":11}]},{"m":[],"n":2},{"m":[{"x":"?"}]}]}"#
        var seen: [Int64] = []
        try withPayload(json) { payload throws in
            #expect(
                throws: PayloadError(
                    path: "$.l[2].m[0].x",
                    reason: "is a text, not a whole number of 64 bits"
                )
            ) {
                try payload.forEachObject("l") { line in
                    try line.forEachObject("m") { seen.append(try $0.int64("x")) }
                    seen.append(try line.int64("n"))
                }
            }
        }
        #expect(seen == [10, 11, 1, 2])
        try withPayload(#"{"l":[{},5]}"#) { payload throws in
            #expect(throws: PayloadError(path: "$.l[1]", reason: "is not an object")) {
                try payload.forEachObject("l") { _ in }
            }
        }
    }

    @Test("steps over nesting of 900 levels")
    func deepNesting() throws {
        let deep = String(repeating: "[", count: 900) + String(repeating: "]", count: 900)
        try withPayload("{\"deep\":\(deep),\"a\":1}") { payload throws in
            #expect(try payload.int64("a") == 1)
            #expect(try payload.jsonText("deep").text == deep)
        }
    }

    @Test(
        "refuses what is no JSON object",
        arguments: [
            "", " ", "{", "{\"a\":1", "{\"a\" 1}", "{\"a\":}", "{\"a\":1,}", "{a:1}", "[1]", "5",
            "\"a\"", "null", "{\"a\":1}x", "{\"a\":1} {\"a\":2}", "{\"a\":1}}", "{\"a\":\"x}",
            "{\"a\":\"\n\"}", "{\"\\x\":1,\"a\":1}", "{\"a\":[1}",
        ]
    )
    func malformed(json: String) throws {
        try withPayload(json) { payload throws in
            #expect {
                try payload.int64("a")
            } throws: { error in
                let error = error as? PayloadError
                return error?.path == "$"
                    && error?.reason.hasPrefix("is not a JSON object: ") == true
            }
        }
    }

    @Test(
        "finds the fields that Foundation finds, in whatever spelling",
        arguments: [61, 62, 63] as [UInt64]
    )
    func sameFields(seed: UInt64) throws {
        print("payload: seed \(seed)")
        var random = JSONDice(seed: seed)
        for _ in 0..<2_000 {
            let text = random.object(depth: 3)
            let object = try JSONSerialization.jsonObject(with: Data(text.utf8))
            let fields = try #require(object as? [String: Any])
            try withPayload(text) { payload throws in
                for (key, get) in JSONDice.accessors {
                    let expected = fields[key].flatMap { $0 is NSNull ? nil : $0 }
                    #expect(try get(payload) == (expected != nil), "\(key) in \(text)")
                    guard let expected, case .text(let found)? = try random.read(key, payload)
                    else { continue }
                    #expect(found == expected as? String, "\(key) in \(text)")
                }
            }
        }
    }

    @Test("no damage to a text makes it trap, or a valid one refused", arguments: [71, 72])
    func damage(seed: UInt64) throws {
        print("payload: seed \(seed)")
        var random = JSONDice(seed: seed)
        let reader = JSONObjectReader()
        for _ in 0..<4_000 {
            var bytes = Array(random.object(depth: 2).utf8)
            random.damage(&bytes)
            let isValid = Self.withPadding(bytes) { reader.open($0) == nil }
            try withEvent(bytes: bytes) { event throws in
                do {
                    _ = try event.payload.contains("a")
                } catch is PayloadError {
                    #expect(!isValid, "\(String(decoding: bytes, as: UTF8.self))")
                }
            }
        }
    }

    private static func withPadding<Result>(
        _ bytes: [UInt8],
        _ body: (UnsafeRawBufferPointer) -> Result
    ) -> Result {
        let padded = bytes + Array(repeating: 0, count: PayloadParser.padding)
        return padded.withUnsafeBytes { body(UnsafeRawBufferPointer(rebasing: $0[..<bytes.count])) }
    }

    @Test("refuses bytes that are no UTF-8")
    func invalidUTF8() throws {
        try withEvent(bytes: Array("{\"a\":\"".utf8) + [0xc3, 0x28] + Array("\"}".utf8)) {
            event throws in
            #expect(throws: PayloadError.self) { try event.payload.string("a") }
        }
    }

    @Test("a value that only begins as null is not null")
    func nearlyNull() throws {
        try withPayload(#"{"a":nope}"#) { payload throws in
            #expect(throws: PayloadError.self) { try payload.int64IfPresent("a") }
        }
    }

    @Test("an error never shows the value")
    func privacy() throws {
        try withPayload(#"{"a":"secret-4711"}"#) { payload throws in
            #expect {
                try payload.int64("a")
            } throws: {
                !String(describing: $0).contains("secret")
            }
        }
    }
}

@Suite("Payload: Codable")
struct PayloadDecodeTests {
    private struct Order: Decodable, Equatable {
        struct Line: Decodable, Equatable { var sku: String }
        var orderID: UUID
        var placedAt: Date
        var lines: [Line]
    }

    @Test("decodes the whole payload")
    func decode() throws {
        let json = """
            {"orderID":"7D444840-9DC0-11D1-B245-5FFDCE74FAD2","placedAt":"2026-03-01T00:00:00.5Z",\
            "lines":[{"sku":"A"}],"more":1}
            """
        let order = try withEvent(bytes: Array(json.utf8)) { try $0.decode(Order.self) }
        #expect(order.lines == [Order.Line(sku: "A")])
        #expect(order.placedAt == Date(timeIntervalSince1970: 1_772_323_200.5))
    }

    @Test(
        "names the JSON path that does not fit",
        arguments: [
            (#"{"placedAt":"2026-03-01T00:00:00Z","lines":[]}"#, "$.orderID", "is missing"),
            (#"{"orderID":5}"#, "$.orderID", "is not of type"),
            (#"{"orderID":null}"#, "$.orderID", "is null"),
            (
                """
                {"orderID":"7d444840-9dc0-11d1-b245-5ffdce74fad2","placedAt":"now","lines":[]}
                """, "$.placedAt", "is malformed"
            ),
            (
                """
                {"orderID":"7d444840-9dc0-11d1-b245-5ffdce74fad2",\
                "placedAt":"2026-03-01T00:00:00Z","lines":[{"sku":"A"},{}]}
                """, "$.lines[1].sku", "is missing"
            ),
        ]
    )
    func misfit(json: String, path: String, reason: String) throws {
        try withEvent(bytes: Array(json.utf8)) { event throws in
            #expect {
                try event.decode(Order.self)
            } throws: { error in
                let error = error as? PayloadError
                return error?.path == path && error?.reason.hasPrefix(reason) == true
            }
        }
    }
}
