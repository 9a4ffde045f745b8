internal import ProjectionKit

extension EventRejection {
    /// The message for people: what was refused, a line for each fact, then what readers see and
    /// what to type.
    var message: String {
        """
        Projection '\(projection)' refuses an event: \(path.map { "\($0) " } ?? "")\(reason).
          event     \(event.eventID ?? "without an id")
          position  \(event.position)
          bucket    \(event.bucket)
          stream    \(event.stream)
          type      \(event.type)
          path      \(path ?? "none, the reducer refuses the event as such")
        The live tables are unchanged.
        Change the reducer to handle or ignore this event, then run \
        'reprise rebuild \(projection)'.
        """
    }
}
