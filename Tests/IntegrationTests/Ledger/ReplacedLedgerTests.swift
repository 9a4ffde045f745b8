import Foundation
import Ledgers
import ProjectionKit
import ReadModels
import Rebuilder
import TestSupport
import Testing

/// A ledger that is not the one any more that the live tables were made of.
@Suite("A ledger that was replaced")
struct ReplacedLedgerTests {
    @Test("a follower stops when its ledger is replaced by a restored one that was written again")
    func whileFollowing() async throws {
        try await withRebuildScene { scene in
            let restored = try await Self.liveWithBackup(scene)
            var options = FollowOptions()
            options.endsAtEnd = false
            let follow = Follow(
                of: StreamLog.self,
                from: try SQLiteLedger(path: scene.ledgerPath),
                into: scene.target,
                options: options
            ) { progress in
                // It has begun, and stands at the ledger's end.
                if case .report = progress { rename(restored, scene.ledgerPath) }
            }
            let error = await #expect(throws: RebuildError.self) { try await follow.run() }
            let isReplaced = if case .ledgerReplaced = error { true } else { false }
            #expect(isReplaced, "\(String(describing: error))")
            #expect(try await Self.events(scene) == 20, "nothing of the other ledger is live")
        }
    }

    @Test("a rebuild stops when its ledger is replaced before the cut-over")
    func whileCatchingUp() async throws {
        try await withRebuildScene { scene in
            let restored = try await Self.liveWithBackup(scene)
            let error = await #expect(throws: RebuildError.self) {
                _ = try await scene.rebuild(StreamLog.self) { progress in
                    if case .stage(.checking) = progress { rename(restored, scene.ledgerPath) }
                }
            }
            let isReplaced = if case .ledgerReplaced = error { true } else { false }
            #expect(isReplaced, "\(String(describing: error))")
            #expect(try await Self.events(scene) == 20)
        }
    }

    @Test(
        "a rebuild from another ledger is refused before it folds, and done where that is consented to"
    )
    func beforeFolding() async throws {
        try await withRebuildScene { scene in
            let restored = try await Self.liveWithBackup(scene)
            #expect(rename(restored, scene.ledgerPath) == 0)
            let error = await #expect(throws: RebuildError.self) {
                _ = try await scene.rebuild(StreamLog.self) { progress in
                    if case .stage(.folding) = progress { Issue.record("it folds") }
                }
            }
            guard case .ledgerMismatch(let mismatch) = error, case .otherEvent = mismatch.difference
            else {
                Issue.record("got \(String(describing: error))")
                return
            }
            var options = RebuildOptions()
            options.patience.allowsOlder = true
            _ = try await scene.rebuild(StreamLog.self, options: options)
            #expect(try await Self.events(scene) == 40)
        }
    }

    /// Puts 20 events live.
    ///
    /// - Returns: A ledger of the first 10 of them and 30 others.
    private static func liveWithBackup(_ scene: RebuildScene) async throws -> String {
        let restored = "\(scene.ledgerPath).restored"
        try scene.append(events(0..<10))
        _ = try LedgerBackup.make(of: scene.ledgerPath, at: restored)
        try scene.append(events(10..<20))
        try LedgerWriter.withWriter(path: restored) { _ = try $0.append(events(100..<130)) }
        _ = try await scene.rebuild(StreamLog.self)
        #expect(try await events(scene) == 20)
        return restored
    }

    private static func events(_ numbers: Range<Int>) -> [NewEvent] {
        numbers.map { NewEvent(stream: "s-\($0 % 3)", type: "Happened", data: #"{"n":\#($0)}"#) }
    }

    /// Events that the live tables were made of.
    private static func events(_ scene: RebuildScene) async throws -> Int {
        let rows = try await scene.rows(of: "public.stream_log")
        // (stream,events,chain)
        return rows.compactMap { Int($0.split(separator: ",")[1]) }.reduce(0, +)
    }
}
