import Foundation
import TestSupport
import Testing

/// The functions that `make fuzz` calls, with the inputs on record and a second of others: what needs
/// no libFuzzer.
@Suite("Foreign bytes")
struct CorpusTests {
    @Test("every input on record is read as it should be", arguments: FuzzTarget.allCases)
    func corpus(target: FuzzTarget) throws {
        let inputs = try Corpus(of: target).inputs
        try #require(!inputs.isEmpty)
        for (name, input) in inputs {
            #expect(throws: Never.self, "\(target.rawValue)/\(name)") { try target.run(input) }
        }
    }

    @Test("inputs that differ from those by chance are read too", arguments: FuzzTarget.allCases)
    func mutations(target: FuzzTarget) throws {
        let seed =
            ProcessInfo.processInfo.environment["REPRISE_TEST_SEED"].flatMap { UInt64($0) }
            ?? 0x5eed
        print("inputs for \(target.rawValue): REPRISE_TEST_SEED=\(seed)")
        var mutator = Mutator(seed: seed, try Corpus(of: target).inputs.map(\.bytes))
        let end = ContinuousClock.now + .seconds(1)
        repeat {
            let input = mutator.next()
            do {
                try target.run(input)
            } catch {
                Issue.record("\(error), for \(Data(input).base64EncodedString()), seed \(seed)")
                return
            }
        } while ContinuousClock.now < end
    }

    @Test("a claim that does not hold is an error")
    func failure() {
        #expect(throws: FuzzFailure.self) { try require(false, "it holds") }
        #expect(throws: Never.self) { try require(true, "it holds") }
    }
}

/// The inputs of a target in `Fuzz/Corpus`.
private struct Corpus {
    /// By name, so that a seed means the same everywhere.
    let inputs: [(name: String, bytes: [UInt8])]

    init(of target: FuzzTarget) throws {
        let folder = URL(filePath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().appending(path: "Corpus/\(target.rawValue)")
        inputs = try FileManager.default.contentsOfDirectory(
            atPath: folder.path(percentEncoded: false)
        )
        .sorted().map { ($0, Array(try Data(contentsOf: folder.appending(path: $0)))) }
    }
}

/// Makes inputs of others by small changes.
private struct Mutator {
    private var random: SeededRandom
    private let inputs: [[UInt8]]

    init(seed: UInt64, _ inputs: [[UInt8]]) {
        random = SeededRandom(seed: seed)
        self.inputs = inputs
    }

    mutating func next() -> [UInt8] {
        var input = inputs.randomElement(using: &random) ?? []
        for _ in 0..<Int.random(in: 1...6, using: &random) { change(&input) }
        return Array(input.prefix(4_096))
    }

    private mutating func change(_ input: inout [UInt8]) {
        let place = Int.random(in: 0...input.count, using: &random)
        let end = min(input.count, place + .random(in: 0...12, using: &random))
        switch Int.random(in: 0..<6, using: &random) {
        case 0: input.insert(.random(in: 0...255, using: &random), at: place)
        case 1 where place < input.count:
            input[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        case 2 where place < input.count:
            input[place] =
                Array("\"\\'{}[]:,;$/-.09eu\n\0\u{7f}".utf8).randomElement(using: &random) ?? 0
        case 3: input.removeSubrange(place..<end)
        case 4: input.insert(contentsOf: input[place..<end], at: place)
        default:
            let other = inputs.randomElement(using: &random) ?? []
            let start = Int.random(in: 0...other.count, using: &random)
            let length = Int.random(in: 0...40, using: &random)
            input.insert(contentsOf: other[start...].prefix(length), at: place)
        }
    }
}
