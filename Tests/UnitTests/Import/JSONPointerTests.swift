import Testing

@testable import Ledgers

@Suite("JSON pointers of an import")
struct JSONPointerTests {
    // The document and the pointers of RFC 6901, section 5.
    private static let document = #"""
        {"foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\j": 5, "k\"l": 6, " ": 7, "m~n": 8}
        """#

    @Test(
        "the pointers of the RFC find what it says",
        arguments: [
            ("", document), ("/foo", #"["bar", "baz"]"#), ("/foo/0", #""bar""#),
            ("/foo/1", #""baz""#),
            ("/", "0"), ("/a~1b", "1"), ("/c%d", "2"), ("/e^f", "3"), ("/g|h", "4"),
            (#"/i\j"#, "5"),
            ("/k\"l", "6"), ("/ ", "7"), ("/m~0n", "8"),
        ]
    )
    func ofTheRFC(_ pointer: String, _ expected: String) throws {
        #expect(try value(pointer, Self.document) == expected)
    }

    @Test("what is not there is nothing, and of two equal keys the last one counts")
    func missing() throws {
        let text = #"{"a":{"b":[1,{"c":"}"}]},"a":{"x":"]"},"k\u00e9y":{"é":2}}"#
        for pointer in ["/b", "/a/b", "/a/x/0", "/a/x/y", "/foo/2", "/foo/01", "/foo/-"] {
            #expect(try value(pointer, text) == nil, "\(pointer)")
        }
        #expect(try value("/a/x", text) == #""]""#)
        #expect(try value("/kéy/é", text) == "2")
        #expect(try value("/0/1/a", #"[ [ 0 , {"a" : {"b":[]} } ] ]"#) == #"{"b":[]}"#)
    }

    @Test("a key or a text that begins with a combining mark is one all the same")
    func combiningMarks() throws {
        let text = "{\"\u{301}\":{\"\u{301}x\":1}}"
        #expect(try value("/\u{301}", text) == "{\"\u{301}x\":1}")
        #expect(try value("/\u{301}/\u{301}x", text) == "1")
        var fields = ImportFields()
        #expect(fields.add("type==\u{301}") == nil)
        guard case .constant(let bytes)? = fields[.type], bytes == Array("\u{301}".utf8) else {
            Issue.record("it is \(String(describing: fields[.type]))")
            return
        }
    }

    @Test("a text that is no pointer is none", arguments: ["a", "a/b", "/~", "/~2", "/a~"])
    func malformed(_ text: String) {
        #expect(JSONPointer(text) == nil)
    }

    @Test("a field is a pointer or a constant, once")
    func fields() {
        var fields = ImportFields()
        #expect(fields.add("time=/at") == nil)
        #expect(fields.add("type==Imported") == nil)
        #expect(fields.add("data=") == nil)
        #expect(fields.add("time=/x")?.contains("twice") == true)
        #expect(fields.add("stream=name")?.contains("'stream=/name'") == true)
        #expect(fields.add("nothing=/x")?.contains("NAME one of time, stream") == true)
        #expect(fields.add("id")?.contains("NAME=POINTER") == true)
        #expect(fields.add("id==")?.contains("empty") == true)
    }

    private func value(_ pointer: String, _ text: String) throws -> String? {
        let pointer = try #require(JSONPointer(pointer))
        var text = text
        return text.withUTF8 {
            JSONWalk.value(at: pointer.tokens[...], in: UnsafeRawBufferPointer($0))
                .map { String(decoding: $0, as: UTF8.self) }
        }
    }
}
