import Foundation
import Testing

@testable import Ledgers

@Suite("Bad records of an import")
struct ImportBadRecordTests {
    @Test(
        "L13: bad records are set aside as they are, and their file can be corrected and imported"
    )
    func setAside() throws {
        try ImportScene.with { scene throws in
            let bad =
                #"{"time":"2026-03-01T09:00:00Z", "stream":"s","type":"Step","data":{"n":"2"} "#
            let found = try scene.take(line(1) + bad + "\n" + line(3)) { $0.skipBad = 1 }
            #expect(found.stored == 2 && found.setAside == 1)
            #expect(found.firstReasons.first?.contains("line 2: it is not valid JSON") == true)
            #expect(try scene.text(of: "a.ledger.bad.ndjson") == bad + "\n")
            let reasons = try scene.text(of: "a.ledger.bad.txt")
            #expect(reasons.hasPrefix("'\(scene.file("events"))', line 2: it is not valid JSON"))
            for name in ["a.ledger.bad.ndjson", "a.ledger.bad.txt"] {
                let mode = try FileManager.default.attributesOfItem(atPath: scene.file(name))[
                    .posixPermissions
                ]
                #expect(mode as? Int == 0o600)
            }
            try scene.write(Data((bad + "}\n").utf8), to: "a.ledger.bad.ndjson")
            #expect(try scene.take(file: "a.ledger.bad.ndjson").stored == 1)
            #expect(try scene.payloads() == [1, 3, 2].map(payload))
        }
    }

    @Test("L13: bad rows of CSV keep their header, once")
    func rows() throws {
        try ImportScene.with { scene throws in
            let header = "time,stream,type,n\n"
            for number in 1...2 {
                let text = header + "0,s,A,\(number)\n0,s,\"B\n\(number)\"\n"
                #expect(try scene.take(text, as: "\(number)") { $0.skipBad = 9 }.setAside == 1)
            }
            #expect(
                try scene.text(of: "a.ledger.bad.csv") == header + "0,s,\"B\n1\"\n0,s,\"B\n2\"\n"
            )
            let refusal = #expect(throws: ImportError.self) {
                try scene.take("time,stream,type,m\n0,s,A\n", as: "other") { $0.skipBad = 9 }
            }
            #expect(refusal?.kind == .otherContent)
            #expect(refusal?.counts.stored == 0)
        }
    }

    private struct Stopped: Error {}

    /// Every third of so many lines is bad.
    private static func mixed(_ count: Int) -> String {
        (0..<count).map { $0 % 3 == 0 ? "{\"bad\":\($0)}\n" : line($0) }.joined()
    }

    @Test("a transaction that was lost leaves no record set aside twice, torn or missing")
    func lostTransaction() throws {
        let count = 30
        for (records, reasons) in [(3, 3), (10, 10), (4, 3), (3, 0), (0, 0)] {
            for torn in [0, 5] {
                try ImportScene.with { scene throws in
                    let names = ["a.ledger.bad.ndjson", "a.ledger.bad.txt"]
                    // A ledger of the same content elsewhere says what a lost transaction had written.
                    try scene.write(Data(Self.mixed(count).utf8))
                    try EmbeddedLedger.create(path: scene.file("other"), bucketWidth: 15_000)
                    var options = ImportOptions()
                    options.skipBad = 99
                    _ = try LedgerImport(
                        file: scene.file("events"),
                        ledger: scene.file("other"),
                        options: options
                    ).run()
                    let whole = try ["other.bad.ndjson", "other.bad.txt"].map(scene.text)
                    for (index, lines) in [records, reasons].enumerated() {
                        let all = whole[index].split(
                            separator: "\n",
                            omittingEmptySubsequences: false
                        )
                        var lost = all.prefix(lines).map { $0 + "\n" }.joined(separator: "")
                        if lines < 10 { lost += all[lines].prefix(torn) }
                        try scene.write(Data(lost.utf8), to: names[index])
                    }
                    let found = try scene.take(file: "events") { $0.skipBad = 99 }
                    #expect(found.setAside == 10)
                    #expect(try names.map(scene.text) == whole, "\(records), \(reasons), \(torn)")
                    // What comes later is added, also where it is the same.
                    try scene.take("{}\n{\"bad\":0}\n", as: "next") { $0.skipBad = 99 }
                    #expect(try scene.text(of: names[0]) == whole[0] + "{}\n{\"bad\":0}\n")
                }
            }
        }
    }

    @Test("an import killed while it sets records aside sets each aside once")
    func interrupted() throws {
        try ImportScene.with { scene throws in
            let count = 60_000
            try scene.write(Data(Self.mixed(count).utf8))
            #expect(throws: Stopped.self) {
                try scene.take(file: "events", { $0.skipBad = count }) { _ in throw Stopped() }
            }
            // What the next transaction had added before it was lost.
            let bad = try scene.text(of: "a.ledger.bad.ndjson")
            let done = bad.split(separator: "\n").count
            #expect(done > 0 && done < count / 3)
            let lost = (done..<min(done + 100, count / 3)).map { "{\"bad\":\($0 * 3)}\n" }.joined()
            try scene.write(Data((bad + lost.dropLast(4)).utf8), to: "copy")
            try scene.run([
                "dd", "if=\(scene.file("copy"))", "of=\(scene.file("a.ledger.bad.ndjson"))",
                "conv=notrunc", "status=none",
            ])
            try scene.take(file: "events") { $0.skipBad = count }
            let expected = stride(from: 0, to: count, by: 3).map { "{\"bad\":\($0)}" }
            #expect(
                try scene.text(of: "a.ledger.bad.ndjson").split(separator: "\n").map(String.init)
                    == expected
            )
            #expect(
                try scene.text(of: "a.ledger.bad.txt").split(separator: "\n").count == count / 3
            )
        }
    }

    @Test(
        "a bad record among events with ids is set aside once, however often the file is imported"
    )
    func nightly() throws {
        try ImportScene.with { scene throws in
            let text = line(1, id: "a") + "{\"bad\":1}\n" + line(2, id: "b")
            #expect(try scene.take(text) { $0.skipBad = 9 }.setAside == 1)
            #expect(try scene.take(text) { $0.skipBad = 9 }.setAside == 0)
            let grown = text + line(3, id: "c") + "{\"bad\":2}\n"
            let more = try scene.take(grown) { $0.skipBad = 9 }
            #expect(more.stored == 1 && more.setAside == 1)
            #expect(try scene.text(of: "a.ledger.bad.ndjson") == "{\"bad\":1}\n{\"bad\":2}\n")
            let again = try scene.take(file: "events") {
                $0.skipBad = 9; $0.again = true
            }
            #expect(again.present == 3 && again.setAside == 2)
        }
    }

    @Test("the file to which bad records are added is not read with --skip-bad")
    func ownBadFile() throws {
        try ImportScene.with { scene throws in
            try scene.take("{\"bad\":1}\n") { $0.skipBad = 9 }
            let error = scene.refusal {
                try scene.take(file: "a.ledger.bad.ndjson") { $0.skipBad = 9 }
            }
            #expect(error?.reason.contains("bad records are added") == true)
            #expect(try scene.text(of: "a.ledger.bad.ndjson") == "{\"bad\":1}\n")
        }
    }

    @Test("an element of an array is set aside on a line of its own")
    func element() throws {
        try ImportScene.with { scene throws in
            try scene.take("[{\"time\":0,\n \"stream\":\"s\"},\n\(line(1))]") { $0.skipBad = 1 }
            #expect(
                try scene.text(of: "a.ledger.bad.ndjson") == "{\"time\":0,  \"stream\":\"s\"}\n"
            )
        }
    }

    @Test("events that the ledger refuses count as bad records, in the file's order")
    func refusedByLedger() throws {
        try ImportScene.with { scene throws in
            try scene.take(line(1, id: "a"))
            let other = line(5, id: "a")
            let far = line(6).replacing("2026", with: "2999")
            let text = line(2) + other + "{}\n" + far + line(3)
            #expect(try scene.take(text, as: "x") { $0.skipBad = 3 }.setAside == 3)
            #expect(try scene.text(of: "a.ledger.bad.ndjson") == other + "{}\n" + far)
            #expect(try scene.payloads() == [1, 2, 3].map(payload))
        }
    }

    @Test("one more than allowed stops there, whichever kind it is, with all before it stored once")
    func limit() throws {
        let (other, far, broken) = (
            line(5, id: "a"), line(6).replacing("2026", with: "2999"), "{}\n"
        )
        for kinds in [
            [other, far, broken], [broken, other, far], [other, broken, far],
            [broken, broken, other], [far, broken, broken],
        ] {
            for allowed in 0...3 {
                try ImportScene.with { scene throws in
                    try scene.take(line(1, id: "a"))
                    let text =
                        line(2) + kinds[0] + line(3) + kinds[1] + line(4) + kinds[2] + line(7)
                    func take() throws -> ImportProgress {
                        try scene.take(text, as: "x") { $0.skipBad = allowed }
                    }
                    if allowed == 3 {
                        #expect(try take().setAside == 3)
                        #expect(try scene.payloads() == [1, 2, 3, 4, 7].map(payload))
                        return
                    }
                    let error = scene.refusal { _ = try take() }
                    #expect(error?.place == "line \(2 + 2 * allowed)")
                    #expect(error?.counts.setAside == allowed)
                    #expect(try scene.payloads() == [1, 2, 3, 4].prefix(2 + allowed).map(payload))
                    // What is corrected continues there.
                    let corrected = text.split(separator: "\n", omittingEmptySubsequences: false)
                        .enumerated().map {
                            $0.offset > 2 * allowed && $0.offset % 2 == 1 && $0.offset < 6
                                ? line(8).dropLast() : $0.element
                        }.joined(separator: "\n")
                    #expect(try scene.take(corrected, as: "x").readBefore == 1 + 2 * allowed)
                    #expect(try scene.events().count == 1 + 7 - allowed)
                }
            }
        }
    }

    @Test("where the bad file is a symbolic link, nothing is written through it")
    func symbolicLink() throws {
        try ImportScene.with { scene throws in
            try scene.write(Data("kept".utf8), to: "victim")
            try FileManager.default.createSymbolicLink(
                atPath: scene.file("a.ledger.bad.ndjson"),
                withDestinationPath: scene.file("victim")
            )
            #expect(throws: LedgerError.self) { try scene.take("{}\n") { $0.skipBad = 1 } }
            #expect(try scene.text(of: "victim") == "kept")
        }
    }
}
