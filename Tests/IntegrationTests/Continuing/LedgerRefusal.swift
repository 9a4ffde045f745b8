import Rebuilder
import TestSupport
import Testing

extension RebuildScene {
    /// The same scene, as another program sees it.
    func of(program: String) -> RebuildScene {
        var scene = self
        scene.program = program
        return scene
    }
}

/// Expects that the ledger is refused, and that nothing is changed.
///
/// - Parameter body: What is refused.
/// - Returns: Why; nil when it was not refused for that.
/// - Throws: Nothing but what the expectation throws.
func ledgerMismatch(
    _ body: () async throws -> Void
) async throws -> LedgerMismatch.Difference? {
    let error = await #expect(throws: RebuildError.self) { try await body() }
    guard case .ledgerMismatch(let mismatch) = error else {
        Issue.record("got \(String(describing: error))")
        return nil
    }
    #expect("\(error as Any)".contains("The live tables are unchanged."))
    return mismatch.difference
}
