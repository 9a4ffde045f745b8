internal import ProjectionKit
internal import Wording

extension EventRejection {
    /// The message for people: what was refused, a line for each fact, then what readers see and
    /// what to type.
    var message: String {
        """
        Projection '\(projection)' refuses an event: \(complaint).
          event     \(event.eventID.map(EventPlace.shown) ?? "without an id")
          position  \(event.position)
          bucket    \(event.bucket)
          stream    \(EventPlace.shown(event.stream))
          type      \(EventPlace.shown(event.type))
          path      \(path.map(EventPlace.shown) ?? "none, the reducer refuses the event as such")
        The live tables are unchanged.
        Change the reducer to handle or ignore this event, then run \
        '\(ProgramName.current) rebuild \(projection)'. Whether it still is what was appended, \
        '\(ProgramName.current) ledger verify' tells.
        """
    }
}
