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
    /// Hears what came of a rebuild, by its number in the group.
    package typealias Listener =
        @Sendable (_ index: Int, _ result: Result<RebuildReport, any Error>) -> Void

    private let rebuilds: [Rebuild]
    private let keepsGoing: Bool

    /// Makes a group.
    ///
    /// - Parameters:
    ///   - rebuilds: At least one, of different projections.
    ///   - keepsGoing: Whether a failure of one lets the others go on.
    package init(_ rebuilds: [Rebuild], keepsGoing: Bool = false) {
        precondition(!rebuilds.isEmpty, "a group has at least one rebuild")
        self.rebuilds = rebuilds
        self.keepsGoing = keepsGoing
    }

    /// Rebuilds; the first failure stops those that come after it, unless the group keeps going.
    ///
    /// An interruption stops them always.
    ///
    /// - Parameter done: Called with what came of each projection as soon as that is known.
    /// - Returns: For each rebuild, in the order in which they were given, its report or why there is
    ///   none: what ``Rebuild/run()`` throws, or
    ///   ``RebuildError/stoppedByAnother(projection:failed:)``.
    package func run(done: @escaping Listener = { _, _ in }) async -> [Result<
        RebuildReport, any Error
    >] {
        let outcomes = Outcomes(rebuilds.map(\.name), done: done)
        let order = rebuilds.indices.sorted { rebuilds[$0].name < rebuilds[$1].name }
        await open(order[...], [:], outcomes)
        rebuilds.indices.forEach(outcomes.tell)
        return rebuilds.indices.map { outcomes.result(of: $0) }
    }

    /// Plans and locks one after the other, each inside the time of the one before.
    private func open(
        _ waiting: ArraySlice<Int>,
        _ opened: [Int: OpenRebuild],
        _ outcomes: Outcomes
    ) async {
        guard let index = waiting.first else {
            await work(on: opened, outcomes)
            return outcomes.settleAll()
        }
        do {
            try await rebuilds[index].withOpened { rebuild in
                outcomes.open(index)
                var opened = opened
                opened[index] = rebuild
                await open(waiting.dropFirst(), opened, outcomes)
                // The run ends with what came of it.
                _ = try outcomes.result(of: index).get()
            }
        } catch {
            outcomes.conclude(index, with: error)
            // Those behind it had their turn inside of it, if it was opened.
            guard goesOn(after: error), !outcomes.wasOpened(index) else {
                return outcomes.settleAll()
            }
            await open(waiting.dropFirst(), opened, outcomes)
        }
    }

    private func goesOn(after error: any Error) -> Bool {
        keepsGoing && !(error is CancellationError) && !Task.isCancelled
    }

    private func work(on opened: [Int: OpenRebuild], _ outcomes: Outcomes) async {
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
                let failed = keepsGoing ? sharing.map(\.key) : [sharing[0].key]
                for index in failed { outcomes.note(failure: error, of: index) }
                guard goesOn(after: error) else { return }
            }
        }
        for (index, rebuild) in inOrder where !outcomes.isKnown(index) {
            do {
                outcomes.note(success: try await rebuild.finish(), of: index)
            } catch {
                outcomes.note(failure: error, of: index)
                guard goesOn(after: error) else { return }
            }
        }
    }

    private func fold(_ rebuilds: [OpenRebuild]) async throws {
        let folding = rebuilds.filter { $0.fold != nil }
        let folds = folding.compactMap(\.fold)
        guard let leader = folds.first else { return }
        for rebuild in folding { try await rebuild.enterFolding() }
        try await leader.foldToEnd(together: Array(folds.dropFirst()), keepsGoing: keepsGoing) {
            events,
            total,
            bucket in
            for rebuild in folding {
                rebuild.tell(.folded(events: events, total: total, bucketStart: bucket))
            }
        }
        for rebuild in folding { rebuild.clock.lap(\.fold) }
    }
}

/// What has come of each rebuild of a group.
private final class Outcomes: Sendable {
    private struct State {
        var results: [Result<RebuildReport, any Error>?]
        var opened: Set<Int> = []
        /// Those whose listener has heard of them.
        var told: Set<Int> = []
        /// The one whose failure stopped those that nothing is known of.
        var stopper: Int?
    }

    private let names: [String]
    private let done: RebuildGroup.Listener
    private let state: Mutex<State>

    init(_ names: [String], done: @escaping RebuildGroup.Listener) {
        self.names = names
        self.done = done
        state = Mutex(State(results: Array(repeating: nil, count: names.count)))
    }

    func open(_ index: Int) { state.withLock { _ = $0.opened.insert(index) } }

    func wasOpened(_ index: Int) -> Bool { state.withLock { $0.opened.contains(index) } }

    func isKnown(_ index: Int) -> Bool { state.withLock { $0.results[index] != nil } }

    /// Keeps a report, and tells it.
    func note(success report: RebuildReport, of index: Int) {
        state.withLock { $0.results[index] = $0.results[index] ?? .success(report) }
        tell(index)
    }

    /// Keeps a failure; its run, which has not ended, may know better why.
    func note(failure error: any Error, of index: Int) {
        state.withLock { state in
            guard state.results[index] == nil else { return }
            state.results[index] = .failure(ReadModelError.naming(names[index], in: error))
            if !error.isAnothers { state.stopper = index }
        }
    }

    /// The run has ended with an error.
    func conclude(_ index: Int, with error: any Error) {
        switch error as? ReadModelError {
        case .endedByAnother, .diskFull:
            // Only the run knows that; what was noted follows from it.
            state.withLock { $0.results[index] = .failure(error) }
        default: break
        }
        note(failure: error, of: index)
        tell(index)
    }

    /// Tells what came of a rebuild, once.
    func tell(_ index: Int) {
        let news = state.withLock { $0.told.insert(index).inserted ? $0.results[index] : nil }
        if let news { done(index, news) }
    }

    /// What is known of a rebuild by now; that another one stopped it where nothing is.
    func result(of index: Int) -> Result<RebuildReport, any Error> {
        let (result, stopper) = state.withLock { ($0.results[index], $0.stopper) }
        return result
            ?? .failure(
                RebuildError.stoppedByAnother(
                    projection: names[index],
                    failed: names[stopper ?? index]
                )
            )
    }

    /// Keeps for good what is known by now.
    func settleAll() {
        for index in names.indices {
            if case .failure(let error) = result(of: index) { note(failure: error, of: index) }
        }
    }
}

extension Error {
    /// Whether it says only that another rebuild of the group failed.
    fileprivate var isAnothers: Bool {
        if case .stoppedByAnother? = self as? RebuildError { true } else { false }
    }
}
