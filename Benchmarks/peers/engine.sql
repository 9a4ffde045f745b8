-- The read model of the shop in ClickHouse's SQL, statement by statement. The rows of a SELECT are
-- those of the table that is named above it, column by column.

-- One pass over the ledger. A field that a payload does not have is zero or empty here, and is
-- asked for only where the type of the event has it. To the engine a primary key of SQLite can be
-- NULL, and a comparison with NULL further down would lose rows.
CREATE TABLE facts ENGINE = Memory AS
SELECT
    type,
    assumeNotNull(sequence) AS position,
    fromUnixTimestamp64Micro(time, 'UTC') AS at,
    JSONExtract(
        payload,
        'Tuple(
            orderId UUID, customerId Int64, line Int32, sku String, quantity Int32, unitCents Int64,
            amountCents Int64, carrier String, name String, country String
        )'
    ) AS data
FROM sqlite('LEDGER', 'events');

-- A line stands unless it was removed later; it cannot be added twice without that.
CREATE TABLE lines ENGINE = Memory AS
SELECT order_id, line, sku, quantity, unit_cents, at
FROM (
    SELECT
        data.orderId AS order_id,
        data.line AS line,
        data.sku AS sku,
        data.quantity AS quantity,
        data.unitCents AS unit_cents,
        at,
        position
    FROM facts
    WHERE type = 'LineAdded'
) AS added
LEFT JOIN (
    SELECT data.orderId AS order_id, data.line AS line, max(position) AS last_removal
    FROM facts
    WHERE type = 'LineRemoved'
    GROUP BY order_id, line
) AS removed USING (order_id, line)
WHERE last_removal < position;

-- order_line
SELECT order_id, line, sku, quantity, unit_cents, at FROM lines;

CREATE TABLE orders ENGINE = Memory AS
SELECT
    data.orderId AS order_id,
    maxIf(data.customerId, type = 'OrderPlaced') AS customer_id,
    sumIf(data.amountCents, type = 'OrderPaid') AS paid_cents,
    maxIf(at, type = 'OrderPlaced') AS placed_at,
    argMaxOrNullIf(at, position, type = 'OrderPaid') AS paid_at,
    argMaxOrNullIf(at, position, type = 'OrderShipped') AS shipped_at,
    maxOrNullIf(at, type = 'OrderCancelled') AS cancelled_at,
    argMaxOrNullIf(data.carrier, position, type = 'OrderShipped') AS carrier
FROM facts
WHERE type IN ('OrderPlaced', 'OrderPaid', 'OrderShipped', 'OrderCancelled')
GROUP BY order_id;

-- order_summary
SELECT
    order_id,
    customer_id,
    multiIf(
        cancelled_at IS NOT NULL, 'cancelled',
        shipped_at IS NOT NULL, 'shipped',
        paid_at IS NOT NULL, 'paid',
        'placed'
    ) AS status,
    line_count,
    total_cents,
    paid_cents,
    placed_at,
    paid_at,
    shipped_at,
    cancelled_at,
    carrier
FROM orders
LEFT JOIN (
    SELECT order_id, count() AS line_count, sum(quantity * unit_cents) AS total_cents
    FROM lines
    GROUP BY order_id
) AS sums USING (order_id);

-- customer_totals
SELECT
    customer_id,
    name,
    country,
    number,
    cancelled,
    cents,
    last_order_at
FROM (
    SELECT
        customer_id,
        count() AS number,
        count(cancelled_at) AS cancelled,
        sum(paid_cents) AS cents,
        max(toNullable(placed_at)) AS last_order_at
    FROM orders
    GROUP BY customer_id
) AS bought
FULL JOIN (
    SELECT
        data.customerId AS customer_id,
        argMaxOrNullIf(data.name, position, type = 'CustomerRegistered') AS name,
        argMax(toNullable(data.country), position) AS country
    FROM facts
    WHERE type IN ('CustomerRegistered', 'CustomerMoved')
    GROUP BY customer_id
) AS known USING (customer_id);
