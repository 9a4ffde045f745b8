import Foundation
import TestSupport
import Testing

@testable import Ledgers

@Suite("What keeps valid JSON from being stored")
struct JSONFindingsTests {
    private func findings(_ text: String) -> JSONFindings {
        Array(text.utf8).withUnsafeBytes { JSONFindings(of: $0) }
    }

    private func replaced(_ text: String) -> String {
        Array(text.utf8).withUnsafeBytes {
            String(decoding: JSONFindings.replaced($0), as: UTF8.self)
        }
    }

    @Test(
        "what is not JSON has no such reason",
        arguments: [
            "", " ", "{", "[1,]", "{\"a\":}", "{\"a\" 1}", "01", "1.", "-", "+1", "\"\u{1}\"",
            "\"\\x\"",
            "\"\\u12g4\"", "nul", "truex", "[1 2]", "{}{}", "\"a", "{\"a\":1,}", "[}", "{1:2}",
        ]
    )
    func invalid(_ text: String) {
        #expect(!findings(text).isValid)
        #expect(findings(text).reason == nil)
    }

    @Test(
        "valid JSON is so by the same grammar as everywhere",
        arguments: [
            "0", "-0.5e+10", "\"\"", "null", " [ ] ", "{ }",
            #"{"a":[{},[],{"b":[1,2,{"c":null}]}],"d":"\"\\\/\b"}"#,
            #""\ud83d\ude00""#, "[[[]],[{}]]",
        ]
    )
    func valid(_ text: String) {
        #expect(findings(text).isValid)
        #expect(findings(text).reason == nil)
        #expect(replaced(text) == text)
    }

    @Test(
        "U+0000 and halves of surrogate pairs are found and replaced, and nothing else is touched"
    )
    func badText() {
        #expect(findings(#"{"a":"\u0000"}"#).reason?.contains("U+0000") == true)
        #expect(findings(#"{"a":"\\u0000"}"#).reason == nil)
        #expect(findings(#"{"a":"\ud800x"}"#).reason?.contains("surrogate") == true)
        #expect(findings(#"["\udc00"]"#).reason?.contains("surrogate") == true)
        #expect(findings(#"["\ude00\ud83d"]"#).reason?.contains("surrogate") == true)
        #expect(
            replaced(#"{"\u0000":"\\u0000\ud83d\ude00\ud83dx\ude00"}"#)
                == #"{"\ufffd":"\\u0000\ud83d\ude00\ufffdx\ufffd"}"#
        )
        #expect(replaced(#"["\ud83d\ud83d\ude00"]"#) == #"["\ufffd\ud83d\ude00"]"#)
    }

    @Test("what is nested too deep becomes the text of its JSON")
    func deep() throws {
        let inner = #"[["é\"]"], 1]"#
        let open = String(repeating: "[", count: 999) + "{\"k\":"
        let close = "}" + String(repeating: "]", count: 999)
        let text = open + inner + close
        #expect(findings(text).reason?.contains("1002 levels") == true)
        let flat = replaced(text)
        #expect(findings(flat).depth == 1_000)
        #expect(flat.hasPrefix(open) && flat.hasSuffix(close))
        let string = flat.dropFirst(open.count).dropLast(close.count)
        let decoded = try JSONSerialization.jsonObject(with: Data("[\(string)]".utf8)) as? [String]
        #expect(decoded == [inner])
    }

    @Test(
        "random bytes and random damage neither trap nor change the answer of Foundation's parser"
    )
    func random() throws {
        let seed = UInt64.random(in: 0 ... .max)
        print("seed \(seed)")
        var random = SeededRandom(seed: seed)
        let base = Array(
            #"{"a":[1,-2.5e3,"x\n\u00e9\ud83d\ude00",{"b":null}],"c":true,"d":{}}"#.utf8
        )
        for _ in 0..<3_000 {
            var bytes = base
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                let index = Int.random(in: 0..<bytes.count, using: &random)
                bytes[index] = Array(#"{}[]":,\0u1e-.tn "#.utf8).randomElement(using: &random) ?? 0
            }
            let findings = bytes.withUnsafeBytes { JSONFindings(of: $0) }
            _ = bytes.withUnsafeBytes { JSONFindings.replaced($0) }
            let isJSON =
                (try? JSONSerialization.jsonObject(with: Data(bytes), options: .fragmentsAllowed))
                != nil
            // Foundation refuses lone surrogates, and its numbers are finite.
            if isJSON {
                #expect(findings.isValid, "\(String(decoding: bytes, as: UTF8.self))")
            }
        }
    }
}
