import Foundation
import LedgerKit
import ProjectionKit
import Testing

@testable import Ledgers

@Suite("Importing into a ledger")
struct LedgerImportTests {
    private static let line =
        #"{"time":"2026-01-01T00:00:00.000Z","stream":"s","type":"A","data":{"n":1}}"#

    private func run(
        _ text: String,
        skipBad: Int = 0,
        _ check: (LedgerFolder, ImportProgress) throws -> Void
    ) throws {
        try withLedgerFolder { folder in
            try SQLiteLedger.create(path: folder.file("a.ledger"))
            let file = try folder.write(text, to: "events.ndjson")
            let result = try LedgerImport(
                file: file,
                ledger: folder.file("a.ledger"),
                skipBad: skipBad
            ).run()
            try check(folder, result)
        }
    }

    @Test("an event's time, stream, type and data are stored as given")
    func content() throws {
        let text = #"""
            {"data": {"a" : [1, 2.50],"b":"\u00e9"} , "type":"T\u00fcp","stream":"a b","time":"2026-01-01T01:00:00.9999+01:00","more":1}
            """#
        try run(text) { folder, result in
            #expect(result.stored == 1)
            let expected = #"2026-01-01T00:00:00.999Z a b Tüp {"a" : [1, 2.50],"b":"\u00e9"}"#
            let events = try contents(of: folder.file("a.ledger"))
            #expect(events.first?.hasSuffix(expected) == true)
        }
    }

    @Test("blank lines, CR LF, a byte order mark and a missing last line end are tolerated")
    func lineEnds() throws {
        try run("\u{feff}\(Self.line)\r\n\r\n  \n\(Self.line)") { _, result in
            #expect(result.stored == 2)
            #expect(result.lines == 4)
        }
        try run("") { _, result in #expect(result == ImportProgress(bytesTotal: 0)) }
    }

    @Test("in the same millisecond the order of lines decides")
    func sameMillisecond() throws {
        let lines = (0..<3_000).map { index in
            #"{"time":"2026-01-01T00:00:00.\#(999 - index / 1_000)Z","stream":"s\#(index % 3)","#
                + #""type":"A","data":{"n":\#(index)}}"#
        }
        try run(lines.joined(separator: "\n")) { folder, _ in
            let numbers = try contents(of: folder.file("a.ledger")).compactMap {
                $0.split(separator: ":").last?.dropLast()
            }.compactMap { Int($0) }
            #expect(numbers == Array(2_000..<3_000) + Array(1_000..<2_000) + Array(0..<1_000))
        }
    }

    @Test("importing a file again stores nothing new, and a longer one stores only the rest")
    func repeatable() throws {
        let lines = (0..<50).map { index in
            // Equal lines are separate events; every fifth has an id of its own.
            let id = "\"id\":\"0190a000-0000-4000-8000-0000000000\(10 + index)\","
            return "{\(index % 5 == 0 ? id : "")\(Self.line.dropFirst())"
        }
        try run(lines.prefix(40).joined(separator: "\n")) { folder, result in
            #expect(result.stored == 40)
            let path = folder.file("a.ledger")
            let before = try contents(of: path)
            let again = try LedgerImport(file: folder.file("events.ndjson"), ledger: path).run()
            #expect(again.stored == 0 && again.present == 40)
            #expect(try contents(of: path) == before)
            let longer = try folder.write(lines.joined(separator: "\n"), to: "longer.ndjson")
            let rest = try LedgerImport(file: longer, ledger: path).run()
            #expect(rest.stored == 10 && rest.present == 40)
        }
    }

    @Test("the same line numbers and milliseconds in two files are different events")
    func twoFiles() throws {
        try run(Self.line) { folder, _ in
            let text = Self.line.replacingOccurrences(of: "\"n\":1", with: "\"n\":2")
            let other = try folder.write(text, to: "other.ndjson")
            let result = try LedgerImport(file: other, ledger: folder.file("a.ledger")).run()
            #expect(result.stored == 1)
        }
    }

    @Test(
        "a bad line stops the import with its number and reason; what stands before it is stored",
        arguments: [
            (#"{"time":"#, "it is not valid JSON"),
            ("null", "it is null, not an object"),
            ("[1]", "it is an array, not an object"),
            ("12", "it is a number, not an object"),
            (without("time"), "'time' is missing or null"),
            (without("stream"), "'stream' is missing or null"),
            (without("type"), "'type' is missing or null"),
            (without("data"), "'data' is missing or null"),
            (with("time", "1767225600"), "'time' is a number, not a text"),
            (with("time", "\"yesterday\""), "'time' is not an RFC 3339 time"),
            (with("time", "\"2026-02-30T00:00:00Z\""), "'time' is not an RFC 3339 time"),
            (with("time", "\"2026-01-01T00:00:00\""), "'time' is not an RFC 3339 time"),
            (with("time", "\"10000-01-01T00:00:00Z\""), "'time' is not an RFC 3339 time"),
            (with("time", "\"0000-01-01T00:00:00Z\""), "'time' is not an RFC 3339 time"),
            (with("time", "\"0001-01-01T00:00:00+00:01\""), "'time' is not an RFC 3339 time"),
            (with("time", "\"9999-12-31T23:59:59-00:01\""), "'time' is not an RFC 3339 time"),
            (with("stream", "7"), "'stream' is a number, not a text"),
            (with("stream", "\"\""), "'stream' is empty"),
            (with("type", "{}"), "'type' is an object, not a text"),
            (with("type", "\"\""), "'type' is empty"),
            (with("type", #""\ud83d""#), "it is not valid JSON"),
            (with("type", #""\udc00""#), "it is not valid JSON"),
            (with("data", #"{"a":"\ud83d"}"#), "it is not valid JSON"),
            (with("data", "[]"), "'data' is an array, not an object"),
            (with("data", "\"{}\""), "'data' is a text, not an object"),
            (with("data", #"{"a":"\u0000"}"#), "it is not valid JSON (a string holds \\u0000"),
            (with("data", #"{"a":01}"#), "it is not valid JSON"),
            (with("data", #"{"a":1} x"#), "it is not valid JSON"),
            (with("id", "\"42\""), "'id' is not a UUID of 36 characters"),
            (with("id", "42"), "'id' is not a UUID of 36 characters"),
        ]
    )
    func badLine(_ line: String, _ reason: String) throws {
        try expectStop(Data("\(Self.line)\n\n\(line)\n\(Self.line)\n".utf8), reason)
    }

    @Test("a line that is not UTF-8 is a bad line")
    func invalidUTF8() throws {
        for bytes: [UInt8] in [[0xff], [0xc3, 0x28], [0xed, 0xa0, 0x80]] {
            var data = Data("\(Self.line)\n\n".utf8)
            data += Data(
                #"{"time":"2026-01-01T00:00:00Z","stream":"s","type":"A","data":{"a":""#.utf8
            )
            data += Data(bytes) + Data("\"}}\n".utf8)
            try expectStop(data, "it is not valid JSON")
        }
    }

    private func expectStop(_ data: Data, _ reason: String) throws {
        try withLedgerFolder { folder in
            let path = folder.file("a.ledger")
            try SQLiteLedger.create(path: path)
            let file = try folder.write(data, to: "events.ndjson")
            let error = #expect(throws: ImportError.self) {
                try LedgerImport(file: file, ledger: path).run()
            }
            #expect(error?.file == file)
            #expect(error?.line == 3)
            #expect(error?.reason.hasPrefix(reason) == true, "\(String(describing: error?.reason))")
            #expect(error?.counts.stored == 1)
            #expect(try contents(of: path).count == 1)
        }
    }

    @Test("up to N bad lines are set aside with file, line, reason and text; one more stops")
    func skipBad() throws {
        let text = [Self.line, "{\"quote\":", Self.line, "tab\there", Self.line]
            .joined(separator: "\n")
        try run(text, skipBad: 2) { folder, result in
            #expect(result.stored == 3)
            #expect(result.setAside == 2)
            let lines = try folder.text(of: "a.ledger.bad.ndjson").split(separator: "\n")
            try #require(lines.count == 2)
            let second = try JSONDecoder().decode(BadLine.self, from: Data(lines[1].utf8))
            #expect(second.file == folder.file("events.ndjson"))
            #expect(second.line == 4)
            #expect(second.reason.hasPrefix("it is not valid JSON"))
            #expect(second.text == "tab\there")
            let error = #expect(throws: ImportError.self) {
                try LedgerImport(
                    file: folder.file("events.ndjson"),
                    ledger: folder.file("a.ledger"),
                    skipBad: 1
                ).run()
            }
            #expect(error?.line == 4)
            #expect(error?.counts.setAside == 1)
            #expect(error?.description.contains("--skip-bad 2") == true)
        }
    }

    @Test("gzip is recognised by its content, in one member or several, with zeros behind")
    func gzip() throws {
        try withLedgerFolder { folder in
            let path = folder.file("a.ledger")
            try SQLiteLedger.create(path: path)
            _ = try folder.write("\(Self.line)\n\(Self.line)\n", to: "plain")
            let member = try folder.gzip("plain")
            let twice = try folder.write(member + member + Data(count: 512), to: "events")
            #expect(try LedgerImport(file: twice, ledger: path).run().stored == 4)
            let garbage = try folder.write(member + Data("garbage".utf8), to: "garbage")
            let error = #expect(throws: ImportError.self) {
                try LedgerImport(file: garbage, ledger: path).run()
            }
            #expect(error?.reason.contains("follows the end of the gzip data") == true)
        }
    }

    @Test("standard input is read as it comes, here gzip whose first byte comes alone")
    func standardInput() throws {
        try withLedgerFolder { folder in
            let path = folder.file("a.ledger")
            try SQLiteLedger.create(path: path)
            _ = try folder.write("\(Self.line)\n\(Self.line)\n", to: "plain")
            let data = try folder.gzip("plain")
            let pipe = Pipe()
            let saved = dup(STDIN_FILENO)
            dup2(pipe.fileHandleForReading.fileDescriptor, STDIN_FILENO)
            defer {
                dup2(saved, STDIN_FILENO)
                close(saved)
            }
            Thread.detachNewThread {
                let writing = pipe.fileHandleForWriting
                // A pipe that is closed early shows as fewer events.
                try? writing.write(contentsOf: data.prefix(1))
                try? writing.write(contentsOf: data.dropFirst())
                try? writing.close()
            }
            let result = try LedgerImport(file: "-", ledger: path).run()
            #expect(result.stored == 2)
            #expect(result.bytesTotal == nil)
            #expect(result.bytesRead == data.count)
        }
    }

    @Test("gzip data that are cut off or damaged are an error that names the line reached")
    func damagedGzip() throws {
        try withLedgerFolder { folder in
            let path = folder.file("a.ledger")
            try SQLiteLedger.create(path: path)
            let lines = (0..<5_000).map {
                Self.line.replacingOccurrences(of: "\"n\":1", with: "\"n\":\($0 &* 2_654_435_761)")
            }
            _ = try folder.write(lines.joined(separator: "\n"), to: "plain")
            let whole = try folder.gzip("plain")
            let cut = try folder.write(whole.prefix(whole.count / 2), to: "cut.gz")
            let error = #expect(throws: ImportError.self) {
                try LedgerImport(file: cut, ledger: path).run()
            }
            #expect(error?.reason.contains("cut off") == true)
            let stored = try contents(of: path).count
            #expect(stored > 100 && stored < 5_000)
            #expect(error?.line == stored)
            var flipped = whole
            flipped[whole.count / 2] ^= 0xff
            let damaged = try folder.write(flipped, to: "damaged.gz")
            let second = #expect(throws: ImportError.self) {
                try LedgerImport(file: damaged, ledger: path).run()
            }
            #expect(second?.reason.contains("gzip data") == true || second?.skipBad == 0)
        }
    }

    @Test("a file that is missing, or a folder, is named")
    func missingFile() throws {
        try withLedgerFolder { folder in
            let path = folder.file("a.ledger")
            try SQLiteLedger.create(path: path)
            let missing = #expect(throws: ImportError.self) {
                try LedgerImport(file: folder.file("missing"), ledger: path).run()
            }
            #expect(missing?.reason == "No such file or directory")
            #expect(missing?.line == nil)
            let directory = #expect(throws: ImportError.self) {
                try LedgerImport(file: folder.path, ledger: path).run()
            }
            #expect(directory?.reason == "Is a directory")
        }
    }

    @Test("a huge line is stored; one beyond 64 MiB is a bad line, and the next one is read")
    func hugeLines() throws {
        let large = Self.line.replacingOccurrences(
            of: "{\"n\":1}",
            with: #"{"text":"\#(String(repeating: "x", count: 5 << 20))"}"#
        )
        let tooLarge = String(repeating: "y", count: LineReader.longestLine + 1)
        try run("\(large)\n\(tooLarge)\n\(Self.line)", skipBad: 1) { folder, result in
            #expect(result.stored == 2)
            #expect(result.setAside == 1)
            #expect(result.lines == 3)
            let bad = try folder.text(of: "a.ledger.bad.ndjson")
            #expect(bad.contains("it is longer than 64 MiB"))
            #expect(bad.utf8.count < 4_096)
        }
    }

    @Test("deep nesting is stored up to a thousand levels, and a bad line beyond")
    func deepNesting() throws {
        let nested = { (depth: Int) in
            with(
                "data",
                #"{"a":\#(String(repeating: "[", count: depth))\#(String(repeating: "]", count: depth))}"#
            )
        }
        try run(nested(1_000)) { _, result in #expect(result.stored == 1) }
        try expectStop(
            Data("\(Self.line)\n\n\(nested(100_000))".utf8),
            "it is not valid JSON"
        )
    }

    @Test("what progress throws stops the import; the batches before are stored")
    func cancelled() throws {
        try withLedgerFolder { folder in
            let path = folder.file("a.ledger")
            try SQLiteLedger.create(path: path)
            let text = String(repeating: "\(Self.line)\n", count: 100_000)
            let file = try folder.write(text, to: "events.ndjson")
            #expect(throws: CancellationError.self) {
                try LedgerImport(file: file, ledger: path).run { _ in throw CancellationError() }
            }
            #expect(try contents(of: path).count == 20_000)
        }
    }

    @Test("the real event log is imported whole, line by line in order")
    func realLog() throws {
        let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../../../shared/data/bpic2012.ndjson.gz").standardized.path
        guard FileManager.default.fileExists(atPath: file) else {
            return print("\(file) is absent, so the import of the real log was not tested.")
        }
        try withLedgerFolder { folder in
            let path = folder.file("loans.ledger")
            try SQLiteLedger.create(path: path)
            var lastBytes = 0
            let result = try LedgerImport(file: file, ledger: path).run { lastBytes = $0.bytesRead }
            #expect(result.stored == 262_200)
            #expect(lastBytes == result.bytesTotal)
            let info = try LedgerInfo.read(try SQLiteLedger(path: path))
            #expect(info.events == 262_200)
            #expect(info.streams == 13_087)
            let types = Dictionary(uniqueKeysWithValues: info.types.map { ($0.type, $0.events) })
            #expect(types["A_SUBMITTED"] == 13_087)
            #expect(types["A_APPROVED"] == 2_246)
            #expect(types["A_DECLINED"] == 7_635)
            #expect(types["A_CANCELLED"] == 2_807)
            #expect(types["O_CREATED"] == 7_030)
            #expect(try LedgerVerify.run(path: path).isSound)
        }
    }
}

private struct BadLine: Decodable {
    let file: String
    let line: Int
    let reason: String
    let text: String
}

private let fields = [
    ("time", "\"2026-01-01T00:00:00Z\""), ("stream", "\"s\""), ("type", "\"A\""), ("data", "{}"),
]

private func line(_ fields: [(String, String)]) -> String {
    "{" + fields.map { "\"\($0.0)\":\($0.1)" }.joined(separator: ",") + "}"
}

private func without(_ key: String) -> String { line(fields.filter { $0.0 != key }) }

private func with(_ key: String, _ value: String) -> String {
    line(fields.filter { $0.0 != key } + [(key, value)])
}
