import LedgerKit
import ReadModels
import Synchronization

/// Rebuilds of several projections; those from the same ledger share one pass over it.
///
/// All are planned and locked before anything is folded, in the order of their names, so that two
/// processes that rebuild the same projections in opposite order do not take half of the locks each.
/// After the pass they are loaded and cut over one after the other. The rows of all are in memory
/// from the pass on until each is loaded.
package struct RebuildGroup: Sendable {
    private let rebuilds: [Rebuild]

    /// Makes a group.
    ///
    /// - Parameter rebuilds: At least one, of different projections.
    package init(_ rebuilds: [Rebuild]) {
        precondition(!rebuilds.isEmpty, "a group has at least one rebuild")
        self.rebuilds = rebuilds
    }

    /// Rebuilds; the first failure stops those that come after it.
    ///
    /// - Parameter done: Called with each report as soon as its projection is done.
    /// - Returns: For each rebuild, in the order in which they were given, its report or why there is
    ///   none: what ``Rebuild/run()`` throws, or
    ///   ``RebuildError/stoppedByAnother(projection:failed:)``.
    package func run(
        done: @Sendable (RebuildReport) -> Void = { _ in }
    ) async -> [Result<RebuildReport, any Error>] {
        let outcomes = Outcomes(rebuilds.map(\.name))
        let order = rebuilds.indices.sorted { rebuilds[$0].name < rebuilds[$1].name }
        await open(order[...], [:], outcomes, done)
        return rebuilds.indices.map { index in Result { try outcomes.report(of: index) } }
    }

    /// Plans and locks one after the other, each inside the time of the one before.
    private func open(
        _ waiting: ArraySlice<Int>,
        _ opened: [Int: OpenRebuild],
        _ outcomes: Outcomes,
        _ done: @Sendable (RebuildReport) -> Void
    ) async {
        guard let index = waiting.first else { return await work(on: opened, outcomes, done) }
        do {
            try await rebuilds[index].withOpened { rebuild in
                var opened = opened
                opened[index] = rebuild
                await open(waiting.dropFirst(), opened, outcomes, done)
                // The run ends with what came of it.
                _ = try outcomes.report(of: index)
            }
        } catch let error as ReadModelError {
            // Only the run knows that; what was noted of it follows from that.
            if case .endedByAnother = error { outcomes.forget(index) }
            outcomes.note(.failure(error), of: index)
        } catch {
            outcomes.note(.failure(error), of: index)
        }
    }

    private func work(
        on opened: [Int: OpenRebuild],
        _ outcomes: Outcomes,
        _ done: @Sendable (RebuildReport) -> Void
    ) async {
        let inOrder = opened.sorted { $0.key < $1.key }
        var ledgers: [String] = []
        for (_, rebuild) in inOrder where !ledgers.contains(rebuild.ledgerPlace) {
            ledgers.append(rebuild.ledgerPlace)
        }
        for ledger in ledgers {
            let sharing = inOrder.filter { $0.value.ledgerPlace == ledger }
            do {
                try await fold(sharing.map(\.value))
            } catch {
                return outcomes.note(.failure(error), of: sharing[0].key)
            }
        }
        for (index, rebuild) in inOrder {
            do {
                let report = try await rebuild.finish()
                outcomes.note(.success(report), of: index)
                done(report)
            } catch {
                return outcomes.note(.failure(error), of: index)
            }
        }
    }

    private func fold(_ rebuilds: [OpenRebuild]) async throws {
        let folding = rebuilds.filter { $0.fold != nil }
        let folds = folding.compactMap(\.fold)
        guard let leader = folds.first else { return }
        for rebuild in folding { try await rebuild.enterFolding() }
        try await leader.foldToEnd(together: Array(folds.dropFirst())) { events, total, bucket in
            for rebuild in folding {
                rebuild.tell(.folded(events: events, total: total, bucketStart: bucket))
            }
        }
        for rebuild in folding { rebuild.clock.lap(\.fold) }
    }
}

/// What has come of each rebuild of a group.
private final class Outcomes: Sendable {
    private let names: [String]
    private let results: Mutex<[Result<RebuildReport, any Error>?]>

    init(_ names: [String]) {
        self.names = names
        results = Mutex(Array(repeating: nil, count: names.count))
    }

    /// Keeps the first that is said of a rebuild.
    func note(_ result: Result<RebuildReport, any Error>, of index: Int) {
        results.withLock { $0[index] = $0[index] ?? result }
    }

    func forget(_ index: Int) {
        results.withLock { $0[index] = nil }
    }

    func report(of index: Int) throws -> RebuildReport {
        let results = results.withLock { $0 }
        if let result = results[index] { return try result.get() }
        let failed = results.firstIndex { if case .failure = $0 { true } else { false } }
        throw RebuildError.stoppedByAnother(
            projection: names[index],
            failed: failed.map { names[$0] } ?? names[index]
        )
    }
}
