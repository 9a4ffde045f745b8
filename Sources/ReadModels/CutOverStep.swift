import Foundation
import Postgres

/// A place in a cut-over at which a test can stop it.
///
/// The raw values are what `REPRISE_STOP_AT` can hold.
enum CutOverStep: String, CaseIterable, Sendable {
    /// The guard on the live tables is held.
    case guarded
    /// The checkpoint row is held: a live projector stands still.
    case fenced
    /// All is captured; the next message takes exclusive locks.
    case prepared
    /// The exclusive locks are held.
    case locked
    /// The tables have changed places, or their rows were replaced.
    case moved
    /// What hangs on the tables has followed them.
    case carried
    /// The bookkeeping is written; COMMIT is next.
    case recorded
}

/// A switch for tests, which optimised programs do not have: with `REPRISE_STOP_AT` in the environment a cut-over waits, at the step that
/// it names, for as long as somebody holds the advisory lock
/// `hashtextextended('reprise stop <step>', 0)`.
///
/// The time of the wait is not counted against the outage budget.
enum CutOverStop {
    #if DEBUG || REPRISE_STOPS
        private static let wanted = ProcessInfo.processInfo.environment["REPRISE_STOP_AT"]
    #else
        private static let wanted: String? = nil
    #endif

    /// What to run at a step, as one element with the limits of its surroundings off; nothing
    /// without the switch.
    static func statements(at step: CutOverStep) -> [String] {
        guard step.rawValue == wanted else { return [] }
        let saved = ["lock_timeout", "statement_timeout"]
        let save = saved.map {
            """
            pg_catalog.set_config('reprise.\($0)', pg_catalog.current_setting('\($0)'), true),
                pg_catalog.set_config('\($0)', '0', true)
            """
        }
        let restore = saved.map {
            "pg_catalog.set_config('\($0)', pg_catalog.current_setting('reprise.\($0)'), true)"
        }
        // The beginning of the attempt moves by the time of the stop. Where there is none yet, the
        // setting is empty and stays so.
        let shift = """
            pg_catalog.set_config('reprise.began', coalesce((
                nullif(pg_catalog.current_setting('reprise.began', true), '')::pg_catalog.numeric
                + extract(epoch FROM pg_catalog.clock_timestamp())
                - pg_catalog.current_setting('reprise.stopped')::pg_catalog.numeric
                )::pg_catalog.text, ''), true)
            """
        let now = "extract(epoch FROM pg_catalog.clock_timestamp())::pg_catalog.text"
        return [
            """
            SELECT \(save.joined(separator: ", ")),
                pg_catalog.set_config('reprise.stopped', \(now), true);
            SELECT pg_catalog.pg_advisory_xact_lock_shared(
                pg_catalog.hashtextextended('reprise stop \(step.rawValue)', 0));
            SELECT \(restore.joined(separator: ", ")), \(shift)
            """
        ]
    }

    /// Stops between two statements of the client.
    static func pass(_ step: CutOverStep, on connection: PostgresConnection) async throws {
        for statement in statements(at: step) { try await connection.execute(statement) }
    }
}
