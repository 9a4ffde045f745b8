internal import LedgerKit
internal import ProjectionKit

/// What every ledger promises, as checks that any test framework can run.
///
/// ```swift
/// @Test func keepsThePromisesOfLedgers() {
///     let conformance = LedgerConformance {
///         let store = try EventsTable.makeEmpty()
///         return LedgerSubject(open: { store }, append: { try store.append($0) })
///     }
///     #expect(conformance.violations() == [])
/// }
/// ```
///
/// Each check begins with an empty ledger of its own. The events are of 2025, apart from one of
/// 1969.
public struct LedgerConformance: Sendable {
    private let make: @Sendable () throws -> LedgerSubject
    /// Seconds: how long a writer may take beside an open reader.
    package var writerPatience = 20

    /// A suite for one kind of ledger.
    ///
    /// - Parameter make: Makes an empty ledger, another one at each call. Called a few times for each
    ///   check, on one thread.
    public init(make: @escaping @Sendable () throws -> LedgerSubject) {
        self.make = make
    }

    /// Runs every check.
    ///
    /// Blocks for seconds.
    ///
    /// - Returns: The promises that the ledger breaks, each as a sentence that begins with the name
    ///   of the check; empty when it keeps all.
    public func violations() -> [String] { violations(of: nil) }

    /// Runs the checks of these names; nil for all.
    package func violations(of names: [String]?) -> [String] {
        Self.checks.filter { names?.contains($0.name) != false }.flatMap { name, check in
            let findings = Findings()
            do {
                try check(
                    Trial(
                        subject: try make(),
                        make: make,
                        writerPatience: writerPatience,
                        findings: findings
                    )
                )
            } catch {
                findings.add("the ledger threw: \(error)")
            }
            return findings.sentences.map { "\(name): \($0)" }
        }
    }

    private static let checks: [(name: String, run: @Sendable (Trial) throws -> Void)] = [
        ("empty ledger", EmptyLedgerCheck.run),
        ("order", OrderCheck.run),
        ("filing", OrderCheck.runFiling),
        ("content", ContentCheck.run),
        ("spans", SpanCheck.run),
        ("extreme positions", SpanCheck.runExtremes),
        ("batches", BatchCheck.run),
        ("two readers", ReaderCheck.runTwo),
        ("appending while reading", ReaderCheck.runAppending),
        ("safe position", PositionCheck.runSafe),
        ("holds", PositionCheck.runHolds),
        ("extent", PositionCheck.runExtent),
        ("last position before a time", PositionCheck.runBefore),
        ("buckets", BucketCheck.run),
        ("watch", IdentityCheck.runWatch),
        ("identity", IdentityCheck.run),
        ("threads", ThreadCheck.run),
    ]
}
