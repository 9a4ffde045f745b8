import Foundation
import TestSupport

/// A program that is started again whenever it ends, until it is stopped.
actor KeptProcess {
    /// Runs the program, hands it over as soon as it is started, and returns when it has ended.
    typealias Start =
        @Sendable (_ begun: @Sendable (ChildProcess) async -> Void) async throws ->
        ChildProcess.Outcome

    /// How it ended, each time.
    private(set) var endings: [ChildProcess.Outcome] = []

    private let limit: Int
    private let start: Start
    private var child: ChildProcess?
    private var isStopping = false

    /// - Parameters:
    ///   - limit: How often to start it at most.
    ///   - start: Starts it.
    init(atMost limit: Int = 50, _ start: @escaping Start) {
        self.limit = limit
        self.start = start
    }

    /// Whether it is running, or about to.
    private(set) var isRunning = true

    /// Runs it again and again; returns after ``stop()``.
    func run() async throws {
        defer { isRunning = false }
        while !isStopping {
            let ending = try await start { await self.begin($0) }
            child = nil
            endings.append(ending)
            // What cannot even start would be started for ever.
            guard endings.count < limit else { return }
        }
    }

    /// Kills it; it is started again.
    func kill() { child?.signal(SIGKILL) }

    /// Kills it, and lets it be.
    func killForGood() {
        isStopping = true
        child?.signal(SIGKILL)
    }

    /// Ends it, and lets it be.
    func stop() {
        isStopping = true
        child?.signal(SIGTERM)
    }

    private func begin(_ child: ChildProcess) {
        self.child = child
        if isStopping { child.signal(SIGTERM) }
    }
}
