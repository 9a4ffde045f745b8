import Foundation
import Testing

@testable import Ledgers

@Suite("What an import takes")
struct LedgerImportTests {
    @Test("an event's time, stream, type, data, metadata and id are stored as given, to the byte")
    func content() throws {
        try ImportScene.with { scene throws in
            let text = #"""
                {"data": {"a" : [1, 2.50],"b":"\u00e9"} , "type":"T\u00fcp","stream":"a b","time":"2026-01-01T01:00:00.1234569+01:00","id":"é\"1","metadata":{ "m" :1e3}}
                """#
            #expect(try scene.take(text).stored == 1)
            #expect(
                try scene.events() == [
                    #"[1767225600123456,"a b","Tüp","{\"a\" : [1, 2.50],\"b\":\"\\u00e9\"}","{ \"m\" :1e3}","é\"1"]"#
                ]
            )
        }
    }

    @Test("blank lines, CR LF, a byte order mark and a missing last line end are tolerated")
    func lineEnds() throws {
        try ImportScene.with { scene throws in
            let event = line(1).dropLast()
            #expect(try scene.take("\u{feff}\(event)\r\n\r\n  \n\(event)").stored == 2)
            #expect(try scene.events().count == 2)
        }
    }

    @Test("L1: events stand in the order of the file, whatever their times and ids are")
    func order() throws {
        try ImportScene.with { scene throws in
            let order = (0..<3_000).map { ($0 * 7_919) % 3_000 }
            try scene.take(
                order.map { line($0, id: $0 % 3 == 0 ? "\(90_000 - $0)" : nil) }.joined()
            )
            #expect(try scene.payloads() == order.map(payload))
        }
    }

    @Test(
        "L11: microseconds are kept, and a time far in the future is refused unless it is allowed"
    )
    func future() throws {
        try ImportScene.with { scene throws in
            let far =
                #"{"time":"9999-12-31T23:59:59.000001Z","stream":"s","type":"Step","data":{"n":"x"}}"#
                + "\n"
            let error = scene.refusal { try scene.take(line(1) + far + line(2)) }
            #expect(error?.place == "line 2")
            #expect(error?.reason.contains("more than a day ahead") == true)
            #expect(try scene.payloads() == [payload(1)])
            #expect(try scene.take(file: "events") { $0.allowsFuture = true }.stored == 2)
            #expect(
                try scene.query("SELECT time FROM events WHERE sequence = 2") == [
                    "[253402300799000001]"
                ]
            )
        }
    }

    @Test("L12: keys that no part is taken from are kept in the metadata, as they are written")
    func otherKeys() throws {
        try ImportScene.with { scene throws in
            let start = #"{"time":"2026-01-01T00:00:00Z","stream":"s","type":"A","data":{}"#
            try scene.take(
                """
                \(start),"version":7,"Id":"x","n":1.0,"t":null}
                \(start),"a":1,"metadata":{"a":2, "b":3}}
                \(start),"a":1,"metadata":{}}
                \(start),"a":1,"a":2,"k\\u00e9y\\n":[ 1 ]}
                \(start),"metadata":"{\\"m\\": 1}"}
                \(start),"metadata":null,"id":null}
                """
            )
            #expect(
                try scene.query("SELECT metadata FROM events ORDER BY sequence") == [
                    #"["{\"version\":7,\"Id\":\"x\",\"n\":1.0,\"t\":null}"]"#,
                    #"["{\"a\":1,\"a\":2, \"b\":3}"]"#,
                    #"["{\"a\":1}"]"#,
                    #"["{\"a\":1,\"a\":2,\"kéy\\n\":[ 1 ]}"]"#,
                    #"["{\"m\": 1}"]"#,
                    "[null]",
                ]
            )
        }
    }

    @Test("an export's own lines come back to the byte, also where JSON stands in a text")
    func exportForm() throws {
        try ImportScene.with { scene throws in
            let text = #"""
                {"id":"1","time":"2026-01-01T00:00:00.000001Z","stream":"s","type":"A","data_text":"{\n \"a\":1,\"a\" : \"\\u00e9\",\t\"b\":\"\ud83d\ude00\"}","metadata_text":"{\r\n}"}
                """#
            try scene.take(text)
            let row = try #require(
                try scene.query("SELECT hex(payload), hex(metadata) FROM events").first
            )
            let payload = Data("{\n \"a\":1,\"a\" : \"\\u00e9\",\t\"b\":\"😀\"}".utf8)
            let hex = payload.map { byte in
                let digits = String(byte, radix: 16, uppercase: true)
                return digits.count < 2 ? "0\(digits)" : digits
            }.joined()
            #expect(row == "[\"\(hex)\",\"7B0D0A7D\"]")
        }
    }

    @Test(
        "fields are found by pointers and constants, numbers become text, streams get their prefix"
    )
    func fields() throws {
        try ImportScene.with { scene throws in
            let text = #"""
                {"event":{"name":"Paid","at":1700000000.123456},"agg/id":42,"payload":"{\"x\": 1}","seq":9007199254740993,"rest":true}
                """#
            try scene.take(text) { options in
                for field in [
                    "time=/event/at", "stream=/agg~1id", "type=/event/name", "data=/payload",
                    "id=/seq",
                ] {
                    #expect(options.fields.add(field) == nil)
                }
                options.streamPrefix = "order-"
            }
            try scene.take(text, as: "again") { options in
                for field in ["time=/event/at", "stream==all", "type==Imported", "data="] {
                    #expect(options.fields.add(field) == nil)
                }
            }
            let whole = text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"")
            #expect(
                try scene.events() == [
                    #"[1700000000123456,"order-42","Paid","{\"x\": 1}","{\"event\":{\"name\":\"Paid\",\"at\":1700000000.123456},\"rest\":true}","9007199254740993"]"#,
                    #"[1700000000123456,"all","Imported",""# + whole + #"",null,null]"#,
                ]
            )
        }
    }

    @Test("CloudEvents: the subject is the stream, source and id are the id, the rest is metadata")
    func cloudEvents() throws {
        try ImportScene.with { scene throws in
            try scene.take(
                #"""
                [{"specversion":"1.0","id":"A1","source":"/shop","type":"com.x.paid","subject":"o-1","time":"2026-03-01T09:00:00Z","data":{"a" : 1}},
                 {"specversion":"1.0","id":"A1","source":"/other","type":"com.x.paid","time":"2026-03-01T09:00:00Z","data_base64":"eyJhIjoyfQ==","trace":"t"},
                 {"specversion":"1.0","id":"A2","source":"/other","type":"com.x.gone","time":"2026-03-01T09:00:00Z"}]
                """#
            )
            #expect(
                try scene.events() == [
                    #"[1772355600000000,"o-1","com.x.paid","{\"a\" : 1}","{\"specversion\":\"1.0\",\"id\":\"A1\",\"source\":\"/shop\",\"subject\":\"o-1\"}","/shop A1"]"#,
                    #"[1772355600000000,"/other","com.x.paid","{\"a\":2}","{\"specversion\":\"1.0\",\"id\":\"A1\",\"source\":\"/other\",\"trace\":\"t\"}","/other A1"]"#,
                    #"[1772355600000000,"/other","com.x.gone","{}","{\"specversion\":\"1.0\",\"id\":\"A2\",\"source\":\"/other\"}","/other A2"]"#,
                ]
            )
            #expect(try scene.take(file: "events").present == 3)
        }
    }

    @Test(
        "a part that is null is missing, so that its text or a CloudEvent's default takes its place"
    )
    func nullParts() throws {
        try ImportScene.with { scene throws in
            try scene.take(
                #"""
                {"time":0,"stream":"s","type":"A","data":null,"data_text":"{\"a\":1}","metadata":null,"metadata_text":"{\"b\":2}"}
                {"specversion":"1.0","id":"A","source":"/s","type":"B","time":0,"data":null}
                """#
            )
            #expect(
                try scene.events() == [
                    #"[0,"s","A","{\"a\":1}","{\"b\":2}",null]"#,
                    #"[0,"/s","B","{}","{\"specversion\":\"1.0\",\"id\":\"A\",\"source\":\"/s\"}","/s A"]"#,
                ]
            )
        }
    }

    @Test("CSV: columns by name, and those that are left over are the data")
    func csv() throws {
        try ImportScene.with { scene throws in
            let rows =
                "id,time,stream,type,amount,note\r\n"
                + "1,2026-03-01 09:00:00+00,c-1,Paid,12.50,\"said \"\"hi\"\",\r\nthen left\"\r\n"
                + ",1700000000,c-2,Paid,,é"
            #expect(try scene.take("\u{feff}" + rows).stored == 2)
            let tabs = "time\tstream\ttype\tdata\tmetadata\tv\n0\ts\tA\t{\"a\": 1}\t\t2\n"
            #expect(try scene.take(tabs, as: "tabs").stored == 1)
            let semicolons = "time;stream;type;data\n0;s;A;\"{\"\"a\"\": 1}\"\n"
            #expect(
                try scene.take(semicolons, as: "semicolons") { $0.delimiter = 0x3b }.stored == 1
            )
            #expect(
                try scene.events() == [
                    #"[1772355600000000,"c-1","Paid","{\"amount\":\"12.50\",\"note\":\"said \\\"hi\\\",\\r\\nthen left\"}",null,"1"]"#,
                    #"[1700000000000000,"c-2","Paid","{\"amount\":\"\",\"note\":\"é\"}",null,null]"#,
                    #"[0,"s","A","{\"a\": 1}","{\"v\":\"2\"}",null]"#,
                    #"[0,"s","A","{\"a\": 1}",null,null]"#,
                ]
            )
        }
    }

    @Test("a JSON array comes element by element, and an error names the element")
    func array() throws {
        try ImportScene.with { scene throws in
            let event = #"{"time":0,"stream":"s","type":"A","data":{"a":[1,"]}"]}}"#
            let error = scene.refusal { try scene.take("[\n\(event),\n\(event),12]") }
            #expect(error?.place == "element 3")
            #expect(error?.reason == "it is a number, not an object")
            #expect(try scene.payloads() == Array(repeating: #"{"a":[1,"]}"]}"#, count: 2))
            let cut = scene.refusal {
                try scene.take("[\(event),\(event),\(event.dropLast(3))", as: "cut")
            }
            #expect(cut?.kind == .unreadable)
            #expect(cut?.reason == "the file ends inside this element")
        }
    }

    @Test("an event of 60 MiB is stored, and a longer line than 64 MiB is refused")
    func longEvents() throws {
        try ImportScene.with { scene throws in
            let start = #"{"time":0,"stream":"s","type":"A","data":{"a":""#
            let long = String(repeating: "x", count: 60 << 20)
            #expect(try scene.take(line(1) + start + long + "\"}}\n" + line(2)).stored == 3)
            #expect(
                try scene.query("SELECT length(payload) FROM events WHERE sequence = 2") == [
                    "[\(long.count + 8)]"
                ]
            )
            let error = scene.refusal {
                try scene.take(start + long + long + "\"}}\n", as: "longer")
            }
            #expect(error?.reason == "it is longer than 64 MiB")
        }
    }

    @Test(
        "L14: what is refused is refused for what it is",
        arguments: [
            (#"{"time":"#, "it is not valid JSON"), ("null", "it is null, not an object"),
            ("[1]", "it is an array, not an object"), ("12", "it is a number, not an object"),
            (without("time"), "'time' is missing; it has 'stream', 'type', 'data'"),
            (without("stream"), "'stream' is missing"), (without("type"), "'type' is missing"),
            (without("data"), "'data' is missing"), (with("data", "null"), "'data' is null"),
            (with("time", "true"), "'time' is true or false, not a time"),
            (with("time", "\"yesterday\""), "'time' is neither an RFC 3339 time"),
            (with("time", "\"2026-01-01T00:00:00\""), "'time' has no offset from UTC"),
            (with("time", "\"2026-01-01\""), "'time' is a day without a time"),
            (with("time", "1e30"), "'time' is outside the years"),
            (with("stream", "\"\""), "'stream' is empty"),
            (with("stream", "{}"), "'stream' is an object, not a text or a number"),
            (with("type", "[]"), "'type' is an array, not a text or a number"),
            (with("type", #""\ud83d""#), "it holds half of a surrogate pair"),
            (with("data", #"{"a":"\u0000"}"#), "it holds U+0000"),
            (
                with(
                    "data",
                    #"{"a":"# + String(repeating: "[", count: 1_100)
                        + String(repeating: "]", count: 1_100) + "}"
                ),
                "it is nested 1102 levels deep"
            ),
            (with("data", "[]"), "'data' is an array, not an object"),
            (with("data", "\"[]\""), "'data' is a text that holds no JSON object"),
            (with("data", #"{"a":01}"#), "it is not valid JSON"),
            (with("data", #"{"a":1} x"#), "it is not valid JSON"),
            (with("id", "\"\""), "its id is empty"),
            (
                with("id", "\"\(String(repeating: "x", count: 256))\""),
                "its id is longer than 255 bytes"
            ),
            (with("id", "\"1\",\"id\":\"1\""), "it has the key 'id' twice"),
            (with("metadata", "\"x\""), "'metadata' is a text that holds no JSON object"),
            (
                #"{"timestamp":1,"aggregateId":2,"EventType":"x","body":{}}"#,
                "'--field time=/timestamp --field stream=/aggregateId --field type=/EventType --field data=/body'"
            ),
        ]
    )
    func refused(_ text: String, _ reason: String) throws {
        try ImportScene.with { scene throws in
            let error = scene.refusal { try scene.take(line(1) + "\n" + text + "\n" + line(2)) }
            #expect(error?.place == "line 3")
            #expect(error?.reason.contains(reason) == true, "\(error?.reason ?? "")")
            #expect(try scene.payloads() == [payload(1)])
            // Corrected, the same file continues behind what is stored.
            #expect(try scene.take(line(1) + "\n" + line(3) + line(2)).stored == 2)
            #expect(try scene.payloads() == [1, 3, 2].map(payload))
        }
    }

    @Test("with --replace what cannot be stored is replaced")
    func replaced() throws {
        try ImportScene.with { scene throws in
            let deep = String(repeating: "[", count: 1_100) + String(repeating: "]", count: 1_100)
            let lines = [
                with("data", #"{"a":"\u0000é\ud83dx"}"#), with("data", "{\"a\":\(deep)}"),
                with("data", #""{\"a\":\"\\u0000\"}""#),
            ]
            let found = try scene.take(lines.joined(separator: "\n")) { $0.replacesBadText = true }
            #expect(found.stored == 3)
            let payloads = try scene.payloads()
            #expect(payloads.first == #"{"a":"\ufffdé\ufffdx"}"#)
            #expect(payloads.last == #"{"a":"\ufffd"}"#)
            #expect(payloads[1].contains("[\"[[["))
        }
    }

    @Test("bytes that are not UTF-8 are a bad record")
    func invalidUTF8() throws {
        for bytes: [UInt8] in [[0xff], [0xc3, 0x28], [0xed, 0xa0, 0x80]] {
            try ImportScene.with { scene throws in
                let start = Data(#"{"time":0,"stream":"s","type":"A","data":{"a":""#.utf8)
                try scene.write(Data(line(1).utf8) + start + Data(bytes) + Data("\"}}\n".utf8))
                let error = scene.refusal { try scene.take(file: "events") }
                #expect(error?.reason.hasPrefix("it is not valid JSON") == true)
            }
        }
    }
}

private let valid = [
    ("time", "\"2026-01-01T00:00:00.000Z\""), ("stream", "\"s\""), ("type", "\"A\""),
    ("data", "{\"n\":1}"),
]

private func object(_ fields: [(String, String)]) -> String {
    "{" + fields.map { "\"\($0.0)\":\($0.1)" }.joined(separator: ",") + "}"
}

private func without(_ key: String) -> String { object(valid.filter { $0.0 != key }) }

private func with(_ key: String, _ value: String) -> String {
    object(valid.filter { $0.0 != key } + [(key, value)])
}
