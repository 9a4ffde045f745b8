internal import Postgres

/// The rows of the shop by another route than its reducer's: set-based SQL over the events.
package enum ShopRoute {
    /// Columns of events.
    package struct Events: Sendable {
        private(set) var microseconds: [Int64] = []
        private(set) var types: [String] = []
        private(set) var payloads: [String] = []

        /// No events.
        package init() {}

        /// Adds an event: its time in microseconds, its type and its payload.
        package mutating func add(_ time: Int64, _ type: String, _ payload: String) {
            microseconds.append(time)
            types.append(type)
            payloads.append(payload)
        }
    }

    /// The tables, which are in the schema `route` as well.
    package static let tables = ["order_summary", "order_line", "customer_totals"]

    /// Makes the schema `route` with the events, in their order, and the rows that follow from them.
    ///
    /// - Parameters:
    ///   - pieces: The events.
    ///   - database: Where.
    /// - Throws: What the server says.
    package static func lay(_ pieces: [Events], in database: ScratchDatabase) async throws {
        try await database.withConnection { connection in
            try await connection.execute(
                """
                CREATE SCHEMA route;
                CREATE TABLE route.event (place bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
                    at timestamptz NOT NULL, type text NOT NULL, data jsonb NOT NULL)
                """
            )
            for piece in pieces {
                try await connection.query(
                    """
                    INSERT INTO route.event (at, type, data)
                    SELECT 'epoch'::timestamptz + e.microseconds * interval '1 microsecond',
                        e.type, e.data::jsonb
                    FROM unnest($1::bigint[], $2::text[], $3::text[])
                        WITH ORDINALITY AS e (microseconds, type, data, place)
                    ORDER BY e.place
                    """,
                    [.ints(piece.microseconds), .texts(piece.types), .texts(piece.payloads)]
                )
            }
            try await connection.execute(sql)
        }
    }

    /// Rows that one side has and the other has not, each with the side's name.
    ///
    /// - Parameters:
    ///   - table: One of ``tables``.
    ///   - database: Where ``lay(_:in:)`` has made the schema.
    /// - Returns: A line for each row.
    /// - Throws: What the server says.
    package static func difference(
        in table: String,
        of database: ScratchDatabase
    ) async throws -> [String] {
        let columns = try await database.query(
            """
            SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) AS list
            FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0
            """,
            [.text("public.\(table)")]
        )
        let list = try columns.first?.string("list") ?? ""
        let result = try await database.query(
            """
            (SELECT 'tables only' AS side, d::text AS row
             FROM (SELECT \(list) FROM public.\(table)
                   EXCEPT ALL SELECT \(list) FROM route.\(table)) AS d)
            UNION ALL
            (SELECT 'SQL only', d::text
             FROM (SELECT \(list) FROM route.\(table)
                   EXCEPT ALL SELECT \(list) FROM public.\(table)) AS d)
            """
        )
        return try result.rows.map { "\(try $0.string("side")): \(try $0.string("row"))" }
    }

    // Written from what the tables promise, with sets instead of a fold: what counts is the last
    // event about a thing, or the sum or number of all of them.
    private static let sql = """
        CREATE VIEW route.about_order AS
        SELECT place, at, type, (data ->> 'orderId')::uuid AS order_id,
            (data ->> 'customerId')::bigint AS customer_id, (data ->> 'line')::integer AS line,
            data ->> 'sku' AS sku, (data ->> 'quantity')::integer AS quantity,
            (data ->> 'unitCents')::bigint AS unit_cents,
            (data ->> 'amountCents')::bigint AS amount_cents, data ->> 'carrier' AS carrier
        FROM route.event WHERE data ? 'orderId';

        CREATE TABLE route.order_line AS
        SELECT order_id, line, sku, quantity, unit_cents, at AS added_at
        FROM (
            SELECT DISTINCT ON (order_id, line) * FROM route.about_order
            WHERE type IN ('LineAdded', 'LineRemoved') ORDER BY order_id, line, place DESC
        ) AS newest
        WHERE type = 'LineAdded';

        CREATE TABLE route.order_summary AS
        SELECT placed.order_id, placed.customer_id,
            CASE WHEN cancelled.at IS NOT NULL THEN 'cancelled'
                WHEN shipped.at IS NOT NULL THEN 'shipped'
                WHEN paid.cents IS NOT NULL THEN 'paid' ELSE 'placed' END AS status,
            coalesce(held.lines, 0)::integer AS line_count,
            coalesce(held.cents, 0)::bigint AS total_cents,
            coalesce(paid.cents, 0)::bigint AS paid_cents, placed.at AS placed_at,
            paid.at AS paid_at, shipped.at AS shipped_at, cancelled.at AS cancelled_at,
            shipped.carrier
        FROM route.about_order AS placed
        LEFT JOIN (
            SELECT order_id, count(*) AS lines, sum(quantity * unit_cents) AS cents
            FROM route.order_line GROUP BY order_id
        ) AS held USING (order_id)
        LEFT JOIN (
            SELECT order_id, sum(amount_cents) AS cents,
                (array_agg(at ORDER BY place DESC))[1] AS at
            FROM route.about_order WHERE type = 'OrderPaid' GROUP BY order_id
        ) AS paid USING (order_id)
        LEFT JOIN (
            SELECT DISTINCT ON (order_id) order_id, at, carrier FROM route.about_order
            WHERE type = 'OrderShipped' ORDER BY order_id, place DESC
        ) AS shipped USING (order_id)
        LEFT JOIN (
            SELECT order_id, at FROM route.about_order WHERE type = 'OrderCancelled'
        ) AS cancelled USING (order_id)
        WHERE placed.type = 'OrderPlaced';

        CREATE TABLE route.customer_totals AS
        WITH about_customer AS (
            SELECT place, type, (data ->> 'customerId')::bigint AS customer_id,
                data ->> 'name' AS name, data ->> 'country' AS country
            FROM route.event WHERE data ? 'customerId'
        ), ordered AS (
            SELECT customer_id, count(*) AS orders, count(cancelled_at) AS cancelled_orders,
                sum(paid_cents)::bigint AS paid_cents, max(placed_at) AS last_order_at
            FROM route.order_summary GROUP BY customer_id
        ), named AS (
            SELECT DISTINCT ON (customer_id) customer_id, name FROM about_customer
            WHERE type = 'CustomerRegistered' ORDER BY customer_id, place DESC
        ), settled AS (
            SELECT DISTINCT ON (customer_id) customer_id, country FROM about_customer
            WHERE type IN ('CustomerRegistered', 'CustomerMoved') ORDER BY customer_id, place DESC
        )
        SELECT customer_id, name, country, coalesce(orders, 0) AS orders,
            coalesce(cancelled_orders, 0) AS cancelled_orders,
            coalesce(paid_cents, 0) AS paid_cents, last_order_at
        FROM (SELECT DISTINCT customer_id FROM about_customer) AS customer
        LEFT JOIN named USING (customer_id)
        LEFT JOIN settled USING (customer_id)
        LEFT JOIN ordered USING (customer_id)
        """
}
