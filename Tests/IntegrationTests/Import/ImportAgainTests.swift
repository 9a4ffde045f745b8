import Foundation
import TestSupport
import Testing

@testable import Ledgers

@Suite("Importing again")
struct ImportAgainTests {
    private struct Stopped: Error {}

    /// Imports until the first batch is stored, as a kill leaves it.
    private func interrupt(
        _ scene: ImportScene,
        _ options: (inout ImportOptions) -> Void = { _ in }
    ) {
        #expect(throws: Stopped.self) {
            try scene.take(file: "events", options) { _ in throw Stopped() }
        }
    }

    @Test("L3: content that was imported before is refused unless it is wanted again")
    func known() throws {
        try ImportScene.with { scene throws in
            try scene.take(lines(0..<3))
            let error = scene.refusal { try scene.take(lines(0..<3), as: "other") }
            #expect(error?.kind == .importedBefore)
            #expect(error?.reason.contains("with 3 events, of which 3 have no id") == true)
            #expect(error?.reason.contains("events'") == true)
            let blank = scene.refusal { try scene.take(lines(0..<3) + "\n\n", as: "blank") }
            #expect(blank?.kind == .importedBefore)
            #expect(try scene.events().count == 3)
            #expect(try scene.take(file: "other") { $0.again = true }.stored == 3)
            #expect(try scene.events().count == 6)
        }
    }

    @Test(
        "a further copy is complete when its end was reported; until then the same command ends it"
    )
    func unreported() throws {
        try ImportScene.with { scene throws in
            try scene.take(lines(0..<3))
            var options = ImportOptions()
            options.again = true
            let work = LedgerImport(
                file: scene.file("events"),
                ledger: scene.ledger,
                options: options
            )
            #expect(try work.run().stored == 3)
            let second = try work.run()
            #expect(second.stored == 0 && second.readBefore == 3)
            #expect(try work.run().stored == 0)
            let third = try work.run()
            try work.confirm(third)
            #expect(try scene.events().count == 6)
            let fourth = try work.run()
            #expect(fourth.stored == 3 && fourth.readBefore == 0)
            try work.confirm(fourth)
            #expect(try scene.events().count == 9)
            // What was confirmed late, after another import got on with it, changes nothing.
            let fifth = try work.run()
            try scene.take(lines(0..<4)) { $0.again = true }
            try work.confirm(fifth)
            #expect(try scene.events().count == 13)
            #expect(
                try scene.query("SELECT records, is_complete FROM imports ORDER BY import")
                    == ["[3,1]", "[3,1]", "[3,1]", "[4,1]"]
            )
        }
    }

    @Test(
        "L3: a file that begins with known content is refused with a hint, and --source reads its end"
    )
    func longer() throws {
        try ImportScene.with { scene throws in
            try scene.take(lines(0..<3))
            let error = scene.refusal { try scene.take(lines(0..<5)) }
            #expect(error?.kind == .importedBefore)
            #expect(error?.reason.contains("it begins with the 3 lines") == true)
            #expect(error?.advice?.contains("--source NAME") == true)
            #expect(try scene.take(file: "events") { $0.source = "log" }.stored == 2)
            #expect(try scene.payloads() == (0..<5).map(payload))
            #expect(try scene.take(lines(0..<6)) { $0.source = "log" }.stored == 1)
            #expect(try scene.take(lines(0..<6)) { $0.source = "log" }.stored == 0)
            #expect(try scene.payloads() == (0..<6).map(payload))
        }
    }

    @Test("a copy that lost its last line end or its last records is refused, unless it is wanted")
    func lostEnd() throws {
        let rows = "time,stream,type,n\r\n" + (0..<3).map { "0,s,Step,\($0)\r\n" }.joined()
        for (text, cuts) in [
            (lines(0..<3), [1, line(2).utf8.count, line(2).utf8.count + 1]),
            (lines(0..<3) + "\n\n", [1, 3]), (rows, [1, 2, 12]),
            (lines(0..<3_000), [1, 60_000]),
            (lines(0..<3_000), [lines(10..<3_000).utf8.count]),
        ] {
            try ImportScene.with { scene throws in
                try scene.take(text)
                let count = try scene.events().count
                for cut in cuts {
                    let copy = String(decoding: text.utf8.dropLast(cut), as: UTF8.self)
                    let error = scene.refusal { try scene.take(copy, as: "copy") }
                    #expect(error?.kind == .importedBefore, "\(cut)")
                    #expect(try scene.events().count == count)
                }
                let again = try scene.take(file: "copy") {
                    $0.again = true; $0.skipBad = 1
                }
                #expect(again.stored > 0)
            }
        }
    }

    @Test("a file with one other record is no shortened copy")
    func otherEnd() throws {
        try ImportScene.with { scene throws in
            try scene.take(lines(0..<5))
            #expect(try scene.take(lines(0..<2) + line(9), as: "other").stored == 3)
            #expect(try scene.take(line(1), as: "second").stored == 1)
        }
    }

    @Test("an interrupted second copy is completed by the same command")
    func interruptedAgain() throws {
        try ImportScene.with { scene throws in
            try scene.write(Data(lines(0..<50_000).utf8))
            interrupt(scene)
            #expect(try scene.take(file: "events") { $0.again = true }.readBefore > 0)
            #expect(try scene.payloads() == (0..<50_000).map(payload))
            interrupt(scene) { $0.again = true }
            let stored = try scene.events().count - 50_000
            #expect(stored > 0 && stored < 50_000)
            let rest = try scene.take(file: "events") { $0.again = true }
            #expect(rest.readBefore == stored && rest.stored == 50_000 - stored)
            #expect(try scene.payloads() == (0..<100_000).map { payload($0 % 50_000) })
        }
    }

    @Test("L3: a rotated or changed file of a source is refused, and nothing of it is stored")
    func rotated() throws {
        try ImportScene.with { scene throws in
            func source(_ options: inout ImportOptions) { options.source = "log" }
            try scene.take(lines(0..<4), source)
            for text in [
                lines(1..<6), lines(0..<3), lines(0..<4).replacing("\"s\"", with: "\"t\""), "",
            ] {
                let error = scene.refusal { try scene.take(text, source) }
                #expect(error?.kind == .otherContent, "\(text)")
            }
            #expect(try scene.payloads() == (0..<4).map(payload))
            #expect(try scene.take(lines(4..<6)) { $0.source = "log-2" }.stored == 2)
        }
    }

    @Test("L3: equal events on equal lines of two files are two events")
    func equalLines() throws {
        try ImportScene.with { scene throws in
            let same = line(7)
            try scene.take(line(1) + same + line(2), as: "january")
            #expect(try scene.take(line(3) + same, as: "february").stored == 2)
            #expect(try scene.payloads() == [1, 7, 2, 3, 7].map(payload))
        }
    }

    @Test("a growing file comes whole and once, at whichever byte it was cut")
    func growing() throws {
        try ImportScene.with { scene throws in
            let text = line(1) + line(2, id: "two") + "\n" + line(3)
            let bytes = Array(text.utf8)
            for cut in 0...bytes.count {
                try scene.write(Data(bytes[..<cut]))
                let before = try scene.take(file: "events") {
                    $0.source = "\(cut)"; $0.again = true
                }
                try scene.write(Data(bytes))
                let after = try scene.take(file: "events") { $0.source = "\(cut)" }
                let known = cut == 0 ? 0 : 1
                #expect(
                    before.stored + before.present + after.stored + after.present == 3,
                    "\(cut)"
                )
                #expect(before.stored + after.stored == 3 - known, "\(cut)")
            }
        }
    }

    @Test("CSV that grows: a last row without a line end waits for it")
    func growingCSV() throws {
        try ImportScene.with { scene throws in
            let header = "time,stream,type,n\n"
            func take(_ text: String) throws -> ImportProgress {
                try scene.take(text) { $0.source = "rows" }
            }
            #expect(try take(header).stored == 0)
            let first = try take(header + "0,s,A,1\n0,s,A,12")
            #expect(first.stored == 1 && first.leavesUnfinished)
            #expect(try take(header + "0,s,A,1\n0,s,A,123\n").stored == 1)
            #expect(try scene.payloads() == [#"{"n":"1"}"#, #"{"n":"123"}"#])
        }
    }

    @Test("CSV that grows: a header that is not written completely waits for its rest")
    func growingHeader() throws {
        let text = "time,stream,type,n\n0,s,A,1\n"
        for cut in 5...19 {
            try ImportScene.with { scene throws in
                func take(_ text: String) throws -> ImportProgress {
                    try scene.take(text) { $0.source = "rows" }
                }
                let first = try take(String(text.prefix(cut)))
                #expect(first.stored == 0 && first.leavesUnfinished == (cut < 19), "\(cut)")
                _ = try take(String(text.prefix(cut)))
                #expect(try take(text).stored == 1, "\(cut)")
                #expect(try take(text + "0,s,A,2\n").stored == 1, "\(cut)")
                #expect(try scene.payloads() == [#"{"n":"1"}"#, #"{"n":"2"}"#])
            }
        }
    }

    @Test("a header without the columns of an event is refused, with rows or without")
    func columns() throws {
        try ImportScene.with { scene throws in
            for text in ["Error: refused, retry later\n", "a,b\n1,2\n", "time,stream\n"] {
                let error = scene.refusal { try scene.take(text) { $0.skipBad = 9 } }
                #expect(error?.kind == .otherFormat)
                #expect(error?.reason.contains("missing; it has") == true, "\(text)")
            }
            #expect(try scene.take("time,stream,type\n").stored == 0)
            let found = try scene.take("at,who\n0,s\n") {
                _ = $0.fields.add("time=/at")
                _ = $0.fields.add("stream=/who")
                _ = $0.fields.add("type==A")
            }
            #expect(found.stored == 1)
            let cloud = "specversion,source,id,type,time\n1.0,/s,1,A,0\n"
            #expect(try scene.take(cloud, as: "cloud").stored == 1)
        }
    }

    @Test("an array that got longer continues behind its last element")
    func growingArray() throws {
        try ImportScene.with { scene throws in
            func array(_ range: Range<Int>) -> String {
                "[" + range.map { line($0) }.joined(separator: ",") + "]"
            }
            try scene.take(array(0..<3)) { $0.source = "array" }
            #expect(try scene.take(array(0..<5)) { $0.source = "array" }.stored == 2)
            #expect(try scene.payloads() == (0..<5).map(payload))
        }
    }

    @Test(
        "a compressed file that grows by members continues by its content",
        arguments: ["gzip", "zstd"]
    )
    func growingMembers(_ tool: String) throws {
        try ImportScene.with { scene throws in
            try scene.write(Data(lines(0..<3).utf8), to: "a")
            try scene.write(Data(lines(3..<5).utf8), to: "b")
            let a = try scene.run([tool, "-c", scene.file("a")])
            try scene.write(a)
            try scene.take(file: "events") { $0.source = "log" }
            try scene.write(a + (try scene.run([tool, "-c", scene.file("b")])))
            #expect(try scene.take(file: "events") { $0.source = "log" }.stored == 2)
            #expect(try scene.payloads() == (0..<5).map(payload))
            let error = scene.refusal { try scene.take(lines(0..<6)) { $0.source = "typo" } }
            #expect(error?.reason.contains("under the source 'log'") == true)
        }
    }

    @Test("an interrupted import continues where it stopped, with and without --source")
    func interrupted() throws {
        for source in [nil, "log"] {
            try ImportScene.with { scene throws in
                try scene.write(Data(lines(0..<50_000).utf8))
                interrupt(scene) { $0.source = source }
                let stored = try scene.events().count
                #expect(stored > 0 && stored < 50_000)
                let rest = try scene.take(file: "events") { $0.source = source }
                #expect(rest.readBefore == stored)
                #expect(rest.stored == 50_000 - stored)
                #expect(try scene.payloads() == (0..<50_000).map(payload))
                let error = scene.refusal { try scene.take(file: "events") }
                #expect(error?.kind == .importedBefore)
            }
        }
    }

    @Test("an interrupted array and interrupted rows continue as well")
    func interruptedForms() throws {
        let events = (0..<40_000).map { line($0) }
        let rows = "time,stream,type,n\n" + (0..<40_000).map { "0,s,Step,\($0)\n" }.joined()
        for text in ["[" + events.joined(separator: ",\n") + "]", rows] {
            try ImportScene.with { scene throws in
                try scene.write(Data(text.utf8))
                interrupt(scene)
                _ = try scene.take(file: "events")
                #expect(try scene.payloads() == (0..<40_000).map(payload))
            }
        }
    }

    @Test("after an interruption another file with the same beginning is not mistaken for it")
    func otherAfterInterruption() throws {
        try ImportScene.with { scene throws in
            try scene.write(Data(lines(0..<50_000).utf8))
            interrupt(scene)
            let stored = try scene.events().count
            let other = lines(0..<(stored - 1)) + line(99_999)
            #expect(try scene.take(other, as: "other").stored == stored)
        }
    }

    @Test("files whose events all have ids can be imported at any time again")
    func ids() throws {
        try ImportScene.with { scene throws in
            let text = lines(0..<2_000) { "id-\($0)" }
            try scene.take(text)
            let again = try scene.take(text)
            #expect(again.stored == 0 && again.present == 2_000)
            let longer = try scene.take(lines(0..<2_010) { "id-\($0)" })
            #expect(longer.stored == 10 && longer.present == 2_000)
            #expect(try scene.events().count == 2_010)
        }
    }

    @Test("the same id with other content is refused, and both are named")
    func otherContent() throws {
        try ImportScene.with { scene throws in
            try scene.take(line(1, id: "a"))
            let error = scene.refusal {
                try scene.take(line(2, id: "b") + line(3, id: "a", stream: "o"), as: "x")
            }
            #expect(error?.place == "line 2")
            #expect(
                error?.reason.contains(
                    "its id, 'a', is that of event 1, of 2026-03-01T09:10:01.000Z"
                ) == true
            )
            #expect(error?.reason.contains("time, stream, data are different") == true)
            #expect(try scene.payloads() == [1, 2].map(payload))
        }
    }

    @Test("rows of imports are sound, and one that was changed is not")
    func records() throws {
        try ImportScene.with { scene throws in
            try scene.take(lines(0..<3)) { $0.source = "a\nb" }
            func sound() throws -> [Bool] {
                try LedgerWriter.withWriter(path: scene.ledger) {
                    try ImportRecord.all(in: $0.database).map(\.isSound)
                }
            }
            #expect(try sound() == [true])
            _ = try scene.run([
                "python3", "-c",
                "import sqlite3,sys; c=sqlite3.connect(sys.argv[1]); c.execute('UPDATE imports SET bytes = bytes + 1'); c.commit()",
                scene.ledger,
            ])
            #expect(try sound() == [false])
            let error = scene.refusal { try scene.take(lines(0..<4)) { $0.source = "a\nb" } }
            #expect(error?.reason.contains("is damaged") == true)
        }
    }
}
