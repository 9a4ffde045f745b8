import LedgerKit
import Ledgers
import Postgres
import ProjectionKit
import TestSupport

/// What a reader saw at one moment, in one statement.
struct SoakLook: Equatable, Sendable {
    let generation: Int64
    let position: Position
    let sums: ShopSums
}

/// Numbers that tell one state of the shop from another.
struct ShopSums: Equatable, Sendable {
    var orders: Int64 = 0
    var cancelled: Int64 = 0
    var lines: Int64 = 0
    var paidCents: Int64 = 0
}

/// A reader that looks at all three tables again and again, as long as the soak lasts.
actor SoakReader {
    /// Looks that differ from the one before.
    private(set) var looks: [SoakLook] = []
    /// Looks in which tables said different things.
    private(set) var torn: [String] = []
    /// Errors other than that the server was away.
    private(set) var errors: [String] = []
    /// How often the server was away.
    private(set) var absences = 0

    private var isClosing = false

    func close() { isClosing = true }

    /// Looks until it is closed; a lost connection is made again.
    func read(_ database: ScratchDatabase) async {
        while !isClosing {
            do {
                try await database.withConnection { connection in
                    while !isClosing {
                        take(try await connection.query(Self.sql).first)
                        try await Task.sleep(for: .milliseconds(100))
                    }
                }
            } catch is ConnectionError {
                absences += 1
                try? await Task.sleep(for: .milliseconds(100))
            } catch {
                errors.append("\(error)")
                return
            }
        }
    }

    // Each number twice where two tables have it.
    private static let sql = """
        SELECT c.generation, c.position, s.orders, s.cancelled, s.lines, s.cents, l.lines AS lines2,
            t.orders AS orders2, t.cancelled AS cancelled2, t.cents AS cents2
        FROM reprise.checkpoint AS c,
            (SELECT count(*) AS orders, count(cancelled_at) AS cancelled,
                coalesce(sum(line_count), 0) AS lines, coalesce(sum(paid_cents), 0)::bigint AS cents
             FROM public.order_summary) AS s,
            (SELECT count(*) AS lines FROM public.order_line) AS l,
            (SELECT coalesce(sum(orders), 0)::bigint AS orders,
                coalesce(sum(cancelled_orders), 0)::bigint AS cancelled,
                coalesce(sum(paid_cents), 0)::bigint AS cents FROM public.customer_totals) AS t
        WHERE c.projection = 'shop'
        """

    private func take(_ row: QueryRow?) {
        guard let row, let position = row["position"].flatMap({ Position($0) }) else {
            torn.append("there is no checkpoint, or no position in it")
            return
        }
        do {
            let sums = ShopSums(
                orders: try row.int("orders"),
                cancelled: try row.int("cancelled"),
                lines: try row.int("lines"),
                paidCents: try row.int("cents")
            )
            let others = ShopSums(
                orders: try row.int("orders2"),
                cancelled: try row.int("cancelled2"),
                lines: try row.int("lines2"),
                paidCents: try row.int("cents2")
            )
            let look = SoakLook(
                generation: try row.int("generation"),
                position: position,
                sums: sums
            )
            if sums != others { torn.append("\(look): \(others)") }
            if looks.last != look { looks.append(look) }
        } catch {
            errors.append("\(error)")
        }
    }
}

extension SQLiteLedger {
    /// What the shop's tables must say at each of these positions.
    func shopSums(at positions: Set<Position>) throws -> [Position: ShopSums] {
        guard let end = try safePosition() else { return [:] }
        return try withReader(of: PositionSpan(through: end)) { reader in
            let batch = EventBatch()
            var sums = ShopSums()
            var found: [Position: ShopSums] = [:]
            while try reader.fill(batch) {
                try batch.forEach { event in
                    try sums.count(event)
                    if positions.contains(event.position) { found[event.position] = sums }
                }
            }
            return found
        }
    }
}

extension ShopSums {
    fileprivate mutating func count(_ event: borrowing Event) throws {
        switch event.type.name {
        case "OrderPlaced": orders += 1
        case "OrderCancelled": cancelled += 1
        case "LineAdded": lines += 1
        case "LineRemoved": lines -= 1
        case "OrderPaid": paidCents += try event.payload.int64("amountCents")
        default: break
        }
    }
}
