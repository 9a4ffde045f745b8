import Wording

/// A projection being folded, seen without its type.
package protocol Fold: AnyObject, Sendable {
    /// The projection's name.
    var projectionName: String { get }

    /// All tables as they stand, in the order in which the projection declares them.
    ///
    /// Traps where they are not those that it declares.
    var declaredTables: [DeclaredTable] { get }

    /// Its copies, each of which sees every batch in order and folds its own share of the events; one
    /// for most projections. Each may have a thread of its own.
    var copies: [any FoldCopy] { get }

    /// Puts the rows of the copies together: after it there is one.
    ///
    /// - Throws: ``PartitionError``. The fold must not be used after that.
    func unite() throws

    /// Applies every event of a batch, in order, to a fold of one copy.
    ///
    /// - Throws: ``EventRejection`` for the first event that the reducer refuses. The fold must not
    ///   be used after that.
    func apply(_ batch: EventBatch) throws

    /// Begins to note the changes of the tables for readers.
    ///
    /// - Parameter holdsAllRows: False when the tables hold only the rows they are given: the fold
    ///   is then used through ``tryApply(_:)``.
    func beginJournal(holdsAllRows: Bool)

    /// Applies every event of a batch, or none of them: where a reducer asked for rows that its
    /// tables do not hold, they want them afterwards, and everything is as before.
    ///
    /// A reducer is a pure function of its tables, so that it can be asked again.
    ///
    /// - Returns: Whether the batch is applied.
    /// - Throws: ``EventRejection``. The tables are then as they were before.
    func tryApply(_ batch: EventBatch) throws -> Bool

    /// What the tables want since the last attempt; nil for a fold that holds all its rows.
    var wants: RowWants? { get }

    /// Why the fold cannot go on from rows that are read back from PostgreSQL, as a clause; nil when
    /// it can.
    var obstacleToReadingBack: String? { get }

    /// Types of events that have changed no row, by name; nil where that cannot be told.
    var ignoredTypes: [String]? { get }

    /// Whether any event has changed a row, as far as can be told.
    var handlesAny: Bool { get }

    /// Forgets all rows, to ask for them again: of a fold that does not hold all of them.
    func forgetRows()
}

extension Fold {
    /// The tables for readers, in the order in which the projection declares them.
    package var tables: [any LoadableTable] {
        declaredTables.compactMap { $0.table as? any LoadableTable }
    }

    /// The tables for the reducer alone, in the order in which the projection declares them.
    package var workingTables: [any FoldedTable] {
        declaredTables.map(\.table).filter { !($0 is any LoadableTable) }
    }

    /// Each table with the one of the same property in another fold of the projection.
    package func tables(with other: any Fold) -> [(any FoldedTable, any FoldedTable)] {
        let others = other.declaredTables
        return declaredTables.map { table in
            guard let other = others.first(where: { $0.property == table.property }) else {
                preconditionFailure(
                    "'\(projectionName)' has no property '\(table.property)' in its other fold"
                )
            }
            return (table.table, other.table)
        }
    }

    /// The table for readers of a name.
    package func table(named name: String) -> any LoadableTable {
        guard let table = tables.first(where: { $0.name == name }) else {
            preconditionFailure("projection '\(projectionName)' declares no table '\(name)'")
        }
        return table
    }
}

/// What one thread drains batches into: a projection, or one of several copies that share its events.
package protocol FoldCopy: AnyObject, Sendable {
    /// Applies those events of a batch that are this copy's, in order.
    ///
    /// - Throws: ``EventRejection`` for the first event that the reducer refuses. The copy must not
    ///   be used after that.
    func apply(_ batch: EventBatch) throws
}

/// Which event it is, for people.
package struct EventPlace: Equatable, Sendable {
    /// Its place in the ledger.
    package let position: Position
    /// The bucket it is filed in.
    package let bucket: Bucket
    /// Its stream.
    package let stream: String
    /// Its type.
    package let type: String
    /// Its id; nil when it has none.
    package let eventID: String?

    package init(_ event: borrowing Event) {
        position = event.position
        bucket = event.bucket
        stream = event.stream
        type = event.type.name
        eventID = event.id
    }
}

extension EventPlace: CustomStringConvertible {
    /// `the event at position 7: type Paid, stream order-1, bucket …`.
    package var description: String {
        "the event at position \(position): type \(Self.shown(type)), stream \(Self.shown(stream)), "
            + "\(eventID.map { "id \(Self.shown($0)), " } ?? "")bucket \(bucket)"
    }

    /// A name of the event, as messages show it.
    package static func shown(_ name: String) -> String { TextForPeople.line(name, most: 255) }
}

/// Two copies of a projection have made a row with the same key.
package struct PartitionError: Error, Equatable, Sendable {
    /// The projection's name.
    package let projection: String
    /// The table's name, unqualified.
    package let table: String
}

extension Projection {
    /// What is wrong with the declaration of its tables, a sentence each.
    ///
    /// Folding such a projection traps with the first one.
    package static var mistakes: [String] { TableDeclarations(of: Self()).mistakes }

    /// A fold of this projection from its empty state.
    ///
    /// - Parameter copies: How many to fold side by side, where the projection declares a partition
    ///   key; any other has one.
    /// - Returns: The fold.
    package static func makeFold(copies: Int = 1) -> any Fold {
        guard copies > 1, let partitioned = Self.self as? any PartitionedProjection.Type else {
            return ProjectionFold<Self>([ProjectionCopy(share: nil)])
        }
        return ProjectionFold<Self>(
            (0..<copies).map { index in
                ProjectionCopy(
                    share: ProjectionShare(index: index, count: copies, key: partitioned.key)
                )
            }
        )
    }

    /// Applies every event of a batch, in order.
    ///
    /// - Throws: ``EventRejection`` for the first event that the reducer refuses. The projection
    ///   must not be used after that.
    package mutating func apply(_ batch: EventBatch) throws {
        try batch.forEach { try reduceOrReject($0) }
    }

    fileprivate mutating func reduceOrReject(_ event: borrowing Event) throws {
        do {
            try reduceCheckingKeys(event)
        } catch {
            throw EventRejection(projection: Self.name, event: event, error: error)
        }
    }
}

extension PartitionedProjection {
    fileprivate static var key: ProjectionShare.Key {
        { event in
            do {
                return try partitionKey(of: event)
            } catch {
                throw EventRejection(projection: name, event: event, error: error)
            }
        }
    }
}

/// The events that one copy of a projection sees.
private struct ProjectionShare: Sendable {
    typealias Key = @Sendable (borrowing Event) throws -> PartitionKey

    let index: Int
    let count: Int
    let key: Key
}

/// `@unchecked Sendable`: one thread at a time applies batches; the tables are read by others only
/// after it has ended, which is a happens-before edge.
private final class ProjectionCopy<P: Projection>: FoldCopy, @unchecked Sendable {
    var projection: P
    var handled: HandledTypes

    private let share: ProjectionShare?
    /// Several copies read one batch at the same time.
    private let parser = PayloadParser()
    private let trace = FoldTrace(projection: P.name)

    init(share: ProjectionShare?) {
        self.share = share
        let empty = P()
        projection = empty
        let tables = TableDeclarations(of: empty).tables(of: empty)
        handled = HandledTypes(of: P.self, tables: tables.count)
    }

    /// Applies an event, and watches whether it changes a row.
    ///
    /// - Throws: What the reducer throws, ``KeyFault``.
    func reduce(_ event: borrowing Event) throws {
        let type = event.type
        guard !handled.isSettled(type) else { return try projection.reduceCheckingKeys(event) }
        let before = handled.activity(of: &projection)
        try projection.reduceCheckingKeys(event)
        handled.note(type, hasChanged: handled.activity(of: &projection) != before)
    }

    /// Takes in the rows of another copy.
    ///
    /// - Throws: ``PartitionError``.
    func absorb(_ other: ProjectionCopy, _ declarations: TableDeclarations<P>) throws {
        handled.add(other.handled)
        let others = declarations.tables(of: other.projection)
        for own in declarations.tables(of: projection) {
            for other in others where other.property == own.property {
                guard own.table.absorb(other.table) else {
                    throw PartitionError(projection: P.name, table: own.table.name)
                }
            }
        }
    }

    /// Calls `body` with each event of a batch, in order.
    func forEach(
        of batch: EventBatch,
        _ body: (borrowing Event) throws -> Void
    ) rethrows {
        try trace.forEach(of: batch, parsedBy: parser, body)
    }

    func apply(_ batch: EventBatch) throws {
        guard let share else {
            return try forEach(of: batch) { try reduceOrReject($0) }
        }
        try forEach(of: batch) { event in
            guard try share.key(event).copy(of: share.count) == share.index else { return }
            try reduceOrReject(event)
        }
    }

    private func reduceOrReject(_ event: borrowing Event) throws {
        do {
            try reduce(event)
        } catch {
            throw EventRejection(projection: P.name, event: event, error: error)
        }
    }
}

/// `@unchecked Sendable`: the copies are each used by one thread at a time; all else is called by one
/// thread, after theirs have ended, which is a happens-before edge.
private final class ProjectionFold<P: Projection>: Fold, @unchecked Sendable {
    private var parts: [ProjectionCopy<P>]
    private let declarations: TableDeclarations<P>

    init(_ parts: [ProjectionCopy<P>]) {
        self.parts = parts
        declarations = TableDeclarations(of: parts[0].projection)
        declarations.assertSound()
    }

    private var projection: P {
        get { parts[0].projection }
        _modify { yield &parts[0].projection }
    }

    var copies: [any FoldCopy] { parts }

    func unite() throws {
        guard parts.count > 1 else { return }
        let whole = ProjectionCopy<P>(share: nil)
        whole.projection = parts[0].projection
        whole.handled = parts[0].handled
        for part in parts.dropFirst() { try whole.absorb(part, declarations) }
        parts = [whole]
    }

    var projectionName: String { P.name }

    var declaredTables: [DeclaredTable] { declarations.tables(of: projection) }

    func apply(_ batch: EventBatch) throws {
        precondition(parts.count == 1, "\(parts.count) copies are drained by their own threads")
        try parts[0].apply(batch)
    }

    private(set) var wants: RowWants?

    func beginJournal(holdsAllRows: Bool) {
        wants = holdsAllRows ? nil : RowWants()
        for table in tables { table.beginJournal(wants: wants) }
    }

    func tryApply(_ batch: EventBatch) throws -> Bool {
        guard let wants else { preconditionFailure("a fold that holds all rows wants none") }
        var rejection: EventRejection?
        parts[0].forEach(of: batch) { event in
            // With a wrong answer behind it a reducer may refuse anything; it is asked on to find
            // out what else it needs.
            guard rejection == nil else { return }
            do {
                try parts[0].reduce(event)
            } catch {
                guard !wants.isAny else { return }
                rejection = EventRejection(projection: P.name, event: event, error: error)
            }
        }
        guard rejection != nil || wants.isAny else { return true }
        // A table that was begun anew knows nothing of what it wanted, or of what was there before.
        if declaredTables.contains(where: { !$0.table.undoChanges() }) { wants.isWhole = true }
        if let rejection { throw rejection }
        return false
    }

    var ignoredTypes: [String]? { parts[0].handled.ignored }

    var handlesAny: Bool { parts[0].handled.isAny }

    var obstacleToReadingBack: String? {
        for child in Mirror(reflecting: projection).children {
            let name = child.label ?? "a property"
            guard child.value is any FoldedTable else {
                return "its property '\(name)' is no table"
            }
            guard let table = child.value as? any LoadableTable else {
                return "its table '\(name)' is for the reducer alone"
            }
            if let obstacle = table.obstacleToReadingBack { return obstacle }
        }
        return nil
    }

    func forgetRows() {
        projection = P()
        beginJournal(holdsAllRows: false)
    }
}

/// An event that a reducer refused.
package struct EventRejection: Error, Equatable, Sendable {
    /// The projection's name.
    package let projection: String
    /// The event.
    package let event: EventPlace
    /// The JSON path that does not fit; nil when the reducer refused it for another reason.
    package let path: String?
    /// What is wrong, as a clause.
    package let reason: String

    init(projection: String, event: borrowing Event, error: any Error) {
        self.projection = projection
        self.event = EventPlace(event)
        let payloadError = error as? PayloadError
        path = payloadError?.path
        reason = payloadError?.reason ?? String(describing: error)
    }
}

extension EventRejection: CustomStringConvertible {
    /// Projection, event, place and reason, in one line.
    package var description: String {
        "projection '\(projection)' refuses \(event): \(complaint)"
    }

    /// The JSON path, where there is one, and the reason, in one line.
    package var complaint: String {
        TextForPeople.line((path.map { "\($0) " } ?? "") + reason, most: 1_000)
    }
}
