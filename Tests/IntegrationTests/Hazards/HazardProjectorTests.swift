import LedgerKit
import Ledgers
import Postgres
import ProjectionKit
import ReadModels
import Rebuilder
import TestSupport
import Testing

@Suite("Hazards of a swap: the live projector")
struct HazardProjectorTests {
    @Test(
        "H53: a projector that counts through swaps loses no event and applies none twice",
        arguments: [(PositionPlace.checkpoint, 20), (.ownTable, 8)]
    )
    func race(place: PositionPlace, swaps: Int) async throws {
        try await withRebuildScene { scene in
            let ledger = CountedLedger(scene: scene, place: place)
            try ledger.append(3)
            try await scene.database.execute(place.preparation)
            _ = try await ledger.rebuild()
            try await withPollingReader(on: scene.database, sql: place.numbers) { reader in
                let closing = ClosingTime()
                async let projecting = project(ledger, until: closing)
                for _ in 1...swaps {
                    try ledger.append(5)
                    try await swap(ledger)
                }
                await closing.call()
                try await projecting
                await reader.nextPoll()
                let counts = try ledger.counts()
                let results = await reader.results
                #expect(await reader.errors == [])
                #expect(results.last?.first?.hasPrefix("\(counts.count)|") == true)
                for result in results {
                    let fields = try #require(result.first).split(separator: "|").map(String.init)
                    let expected = try #require(counts[fields[2]])
                    #expect(fields[0] == "\(expected)" && fields[1] == "\(expected)")
                }
            }
        }
    }

    /// Rebuilds while events are appended in every stage, which the projector applies at once.
    private func swap(_ ledger: CountedLedger) async throws {
        try await ledger.rebuild { progress in
            guard case .stage = progress else { return }
            do {
                try ledger.append(2)
            } catch {
                Issue.record(error)
            }
        }
    }

    /// Applies events, three in a transaction, until closing time and the end of the ledger.
    private func project(_ counted: CountedLedger, until closing: ClosingTime) async throws {
        let ledger = try SQLiteLedger(path: counted.scene.ledgerPath)
        let row = counted.place.row
        try await counted.scene.database.withConnection { connection in
            var isAtEnd = false
            while true {
                if isAtEnd, await closing.isOver { return }
                isAtEnd = try await connection.withTransaction { connection in
                    let found = try await connection.query(
                        "SELECT position FROM \(row) FOR UPDATE"
                    ).first
                    let position = Position(try #require(found).string("position"))
                    let next = Array(try ledger.positions(after: position).prefix(3))
                    guard let last = next.last else { return true }
                    for table in ["public.tally", "public.tally_day"] {
                        try await connection.query(
                            "UPDATE \(table) SET events = events + $1",
                            [.int(Int64(next.count))]
                        )
                    }
                    try await connection.query(
                        "UPDATE \(row.replacing(" WHERE", with: " SET position = $1 WHERE"))",
                        [.text("\(last)")]
                    )
                    return false
                }
            }
        }
    }
}

/// Where the projector keeps its position.
enum PositionPlace: Sendable {
    case checkpoint
    case ownTable

    /// What stands between SELECT and FOR UPDATE.
    var row: String {
        switch self {
        case .checkpoint: "reprise.checkpoint WHERE projection = 'tally'"
        case .ownTable: "public.my_positions WHERE name = 'tally'"
        }
    }

    /// Two counts that every event raises, and the position, in one snapshot.
    var numbers: String {
        """
        SELECT (SELECT sum(events) FROM public.tally), (SELECT sum(events) FROM public.tally_day),
            (SELECT position FROM \(row))
        """
    }

    var preparation: String {
        """
        CREATE TABLE public.my_positions (name text PRIMARY KEY, position text);
        INSERT INTO public.my_positions VALUES ('tally')
        """
    }

    var templates: [String: PositionTemplate] {
        get throws { self == .ownTable ? ["tally": try .mine()] : [:] }
    }
}

/// Says when a task is to end.
private actor ClosingTime {
    private(set) var isOver = false

    func call() { isOver = true }
}

/// A ledger in which everything counts one id on one day.
private struct CountedLedger: Sendable {
    let scene: RebuildScene
    let place: PositionPlace

    @discardableResult
    func rebuild(
        progress: @escaping @Sendable (RebuildProgress) -> Void = { _ in }
    ) async throws -> RebuildReport {
        var target = scene.target
        target.positionTemplates = try place.templates
        return try await Rebuild(
            of: Tally.self,
            from: try SQLiteLedger(path: scene.ledgerPath),
            into: target,
            progress: progress
        ).run()
    }

    func append(_ number: Int) throws {
        try scene.append(
            (1...number).map { _ in
                NewEvent(
                    time: Timestamp("2026-03-01T09:00:00.000Z"),
                    stream: "tally-1",
                    type: "Counted",
                    data: #"{"id":1}"#
                )
            }
        )
    }

    /// How many events stand up to and including each position.
    func counts() throws -> [String: Int] {
        let positions = try SQLiteLedger(path: scene.ledgerPath).positions(after: nil)
        return Dictionary(
            uniqueKeysWithValues: positions.enumerated().map { ("\($1)", $0 + 1) }
        )
    }
}

extension SQLiteLedger {
    fileprivate func positions(after position: Position?) throws -> [Position] {
        guard let end = try safePosition() else { return [] }
        return try withReader(of: PositionSpan(after: position, through: end)) { reader in
            let batch = EventBatch()
            var positions: [Position] = []
            while try reader.fill(batch) { batch.forEach { positions.append($0.position) } }
            return positions
        }
    }
}
