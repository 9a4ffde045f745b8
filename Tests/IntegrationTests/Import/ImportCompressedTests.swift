import Foundation
import TestSupport
import Testing

@testable import Ledgers

@Suite("Compressed files of an import")
struct ImportCompressedTests {
    @Test(
        "gzip of several members, padded, and zstd of several frames are read",
        arguments: ["gzip", "zstd"]
    )
    func members(_ tool: String) throws {
        try ImportScene.with { scene throws in
            try scene.write(Data(lines(0..<300).utf8), to: "a")
            // A line that begins in one member and ends in the next.
            let middle = Array(lines(300..<310).utf8)
            try scene.write(Data(middle[..<70]), to: "b")
            try scene.write(Data(middle[70...]), to: "c")
            var data = Data()
            for name in ["a", "b", "c"] { data += try scene.run([tool, "-c", scene.file(name)]) }
            data +=
                tool == "gzip"
                ? Data(count: 512) : Data([0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3])
            try scene.write(data)
            #expect(try scene.take(file: "events").stored == 310)
            #expect(try scene.payloads() == (0..<310).map(payload))
        }
    }

    @Test("zstd with a long window is read")
    func longWindow() throws {
        try ImportScene.with { scene throws in
            try scene.write(Data(lines(0..<1_000).utf8), to: "a")
            for window in [28, 31] {
                // From standard input zstd does not know the size, and keeps the whole window.
                let data = try scene.run(["zstd", "-q", "--long=\(window)", "-c"], input: "a")
                try scene.write(data)
                let found = try scene.take(file: "events") { $0.again = true }
                #expect(found.stored == 1_000, "\(window)")
            }
        }
    }

    @Test(
        "L4: of a compressed file that is damaged anywhere nothing is stored",
        arguments: ["gzip", "zstd"]
    )
    func damaged(_ tool: String) throws {
        let seed = UInt64.random(in: 0 ... .max)
        print("seed \(seed)")
        var random = SeededRandom(seed: seed)
        try ImportScene.with { scene throws in
            try scene.write(Data(lines(0..<5_000).utf8), to: "a")
            let command = tool == "zstd" ? ["zstd", "--check", "-c"] : ["gzip", "-c"]
            let whole = try scene.run(command + [scene.file("a")])
            for round in 0..<40 {
                var bytes = whole + whole
                // The second half of the time it is the second member.
                let index =
                    Int.random(in: 14..<whole.count, using: &random) + (round % 2) * whole.count
                bytes[index] ^= 1 << UInt8.random(in: 0..<8, using: &random)
                try scene.write(bytes)
                // A bit that the tool itself does not miss is none of the content.
                let read = try scene.run([
                    "sh", "-c", "\(tool) -dc < '\(scene.file("events"))' || true",
                ])
                if read == Data((lines(0..<5_000) + lines(0..<5_000)).utf8) { continue }
                let error = scene.refusal { try scene.take(file: "events") }
                #expect(error?.kind == .damaged, "byte \(index): \(error?.description ?? "")")
                #expect(try scene.query("SELECT count(*) FROM events") == ["[0]"])
            }
            for cut in [5, whole.count / 2, whole.count - 1] {
                try scene.write(whole + whole[..<cut])
                let error = scene.refusal { try scene.take(file: "events") }
                #expect(error?.reason.contains("cut off") == true)
            }
            for junk in ["x", "\u{1}\u{2}\u{3}\u{4}\u{5}"] {
                try scene.write(whole + Data(junk.utf8))
                let error = scene.refusal { try scene.take(file: "events") }
                #expect(error?.kind == .damaged)
            }
            #expect(try scene.query("SELECT count(*) FROM events") == ["[0]"])
            try scene.write(whole)
            #expect(try scene.take(file: "events").stored == 5_000)
        }
    }

    @Test("zstd without a checksum: a frame of another size than it says is damaged")
    func zstdSizes() throws {
        try ImportScene.with { scene throws in
            try scene.write(Data(lines(0..<100).utf8), to: "a")
            let whole = try scene.run(["zstd", "--no-check", "-c", scene.file("a")])
            try scene.write(whole.dropLast(1))
            #expect(scene.refusal { try scene.take(file: "events") }?.kind == .damaged)
            try scene.write(whole)
            #expect(try scene.take(file: "events").stored == 100)
        }
    }

    @Test("a compressed array and compressed CSV are recognised by their content")
    func forms() throws {
        try ImportScene.with { scene throws in
            try scene.write(Data("[\(line(1)),\(line(2))]".utf8), to: "array")
            try scene.write(Data("time,stream,type,n\n0,s,Step,3\n".utf8), to: "rows")
            for name in ["array", "rows"] {
                try scene.write(try scene.run(["gzip", "-c", scene.file(name)]))
                try scene.take(file: "events")
            }
            #expect(try scene.payloads() == [1, 2, 3].map(payload))
        }
    }
}
