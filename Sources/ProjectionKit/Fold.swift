/// A projection being folded, seen without its type.
package protocol Fold: AnyObject, Sendable {
    /// The projection's name.
    var projectionName: String { get }

    /// The tables as they stand, in the order the projection declares them.
    var tables: [any LoadableTable] { get }

    /// Applies every event of a batch, in order.
    ///
    /// - Throws: ``EventRejection`` for the first event that the reducer refuses. The fold must not
    ///   be used after that.
    func apply(_ batch: EventBatch) throws
}

extension Projection {
    /// A fold of this projection from its empty state.
    package static func makeFold() -> any Fold { ProjectionFold<Self>() }

    /// Applies every event of a batch, in order.
    ///
    /// - Throws: ``EventRejection`` for the first event that the reducer refuses. The projection
    ///   must not be used after that.
    package mutating func apply(_ batch: EventBatch) throws {
        try batch.forEach { event in
            do {
                try reduce(event)
            } catch {
                throw EventRejection(projection: Self.name, event: event, error: error)
            }
        }
    }
}

/// `@unchecked Sendable`: one thread folds; the tables are read by others only after that thread
/// has ended, which is a happens-before edge.
private final class ProjectionFold<P: Projection>: Fold, @unchecked Sendable {
    private var projection = P()

    var projectionName: String { P.name }

    var tables: [any LoadableTable] {
        Mirror(reflecting: projection).children.compactMap { $0.value as? any LoadableTable }
    }

    func apply(_ batch: EventBatch) throws { try projection.apply(batch) }
}

/// An event that a reducer refused.
package struct EventRejection: Error, Equatable, Sendable {
    /// The projection's name.
    package let projection: String
    /// The event's id.
    package let eventID: EventID
    /// Its place in the ledger.
    package let position: Position
    /// The bucket it is filed in.
    package let bucket: Bucket
    /// Its stream.
    package let stream: String
    /// Its type.
    package let type: String
    /// The JSON path that does not fit; nil when the reducer refused it for another reason.
    package let path: String?
    /// What is wrong, as a clause.
    package let reason: String

    init(projection: String, event: borrowing Event, error: any Error) {
        self.projection = projection
        eventID = event.id
        position = event.position
        bucket = event.bucket
        stream = event.stream
        type = event.type.name
        let payloadError = error as? PayloadError
        path = payloadError?.path
        reason = payloadError?.reason ?? String(describing: error)
    }
}

extension EventRejection: CustomStringConvertible {
    /// Projection, event, place and reason, in one line.
    package var description: String {
        "projection '\(projection)' refuses event \(eventID): type \(type), stream \(stream), "
            + "bucket \(bucket), position \(position): \(path.map { "\($0) " } ?? "")\(reason)"
    }
}
