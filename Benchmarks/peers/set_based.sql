-- The read model of the shop out of `staging`. The rows of a SELECT are those of the table that is
-- named above it, column by column.

-- A line stands unless it was removed later; it cannot be added twice without that.
-- order_line
SELECT added.order_id, added.line, added.sku, added.quantity, added.unit_cents, added.at
FROM (
    SELECT
        position,
        (data ->> 'orderId')::uuid AS order_id,
        (data ->> 'line')::integer AS line,
        data ->> 'sku' AS sku,
        (data ->> 'quantity')::integer AS quantity,
        (data ->> 'unitCents')::bigint AS unit_cents,
        timestamptz 'epoch' + microseconds * interval '1 microsecond' AS at
    FROM staging
    WHERE type = 'LineAdded'
) AS added
WHERE NOT EXISTS (
    SELECT FROM (
        SELECT
            position,
            (data ->> 'orderId')::uuid AS order_id,
            (data ->> 'line')::integer AS line
        FROM staging
        WHERE type = 'LineRemoved'
    ) AS removed
    WHERE removed.order_id = added.order_id
        AND removed.line = added.line
        AND removed.position > added.position
);

-- order_summary
SELECT
    placed.order_id,
    placed.customer_id,
    CASE
        WHEN cancelled.at IS NOT NULL THEN 'cancelled'
        WHEN shipped.at IS NOT NULL THEN 'shipped'
        WHEN paid.at IS NOT NULL THEN 'paid'
        ELSE 'placed'
    END,
    coalesce(lines.number, 0),
    coalesce(lines.cents, 0),
    coalesce(paid.cents, 0),
    placed.at,
    paid.at,
    shipped.at,
    cancelled.at,
    shipped.carrier
FROM (
    SELECT
        (data ->> 'orderId')::uuid AS order_id,
        (data ->> 'customerId')::bigint AS customer_id,
        timestamptz 'epoch' + microseconds * interval '1 microsecond' AS at
    FROM staging
    WHERE type = 'OrderPlaced'
) AS placed
LEFT JOIN (
    SELECT order_id, count(*) AS number, sum(quantity * unit_cents) AS cents
    FROM order_line
    GROUP BY order_id
) AS lines ON lines.order_id = placed.order_id
LEFT JOIN (
    -- The shop's times ascend with the sequence, so the last payment is the latest.
    SELECT
        (data ->> 'orderId')::uuid AS order_id,
        sum((data ->> 'amountCents')::bigint) AS cents,
        timestamptz 'epoch' + max(microseconds) * interval '1 microsecond' AS at
    FROM staging
    WHERE type = 'OrderPaid'
    GROUP BY 1
) AS paid ON paid.order_id = placed.order_id
LEFT JOIN (
    SELECT DISTINCT ON (order_id)
        (data ->> 'orderId')::uuid AS order_id,
        data ->> 'carrier' AS carrier,
        timestamptz 'epoch' + microseconds * interval '1 microsecond' AS at
    FROM staging
    WHERE type = 'OrderShipped'
    ORDER BY order_id, position DESC
) AS shipped ON shipped.order_id = placed.order_id
LEFT JOIN (
    SELECT
        (data ->> 'orderId')::uuid AS order_id,
        timestamptz 'epoch' + microseconds * interval '1 microsecond' AS at
    FROM staging
    WHERE type = 'OrderCancelled'
) AS cancelled ON cancelled.order_id = placed.order_id;

ANALYZE order_summary;

-- customer_totals
SELECT
    coalesce(orders.customer_id, homes.customer_id),
    registered.name,
    homes.country,
    coalesce(orders.number, 0),
    coalesce(orders.cancelled, 0),
    coalesce(orders.cents, 0),
    orders.last_at
FROM (
    SELECT
        customer_id,
        count(*) AS number,
        count(cancelled_at) AS cancelled,
        sum(paid_cents) AS cents,
        max(placed_at) AS last_at
    FROM order_summary
    GROUP BY customer_id
) AS orders
FULL JOIN (
    -- Whoever registers says a country as well, so everybody known is in here.
    SELECT DISTINCT ON (customer_id)
        (data ->> 'customerId')::bigint AS customer_id,
        data ->> 'country' AS country
    FROM staging
    WHERE type IN ('CustomerRegistered', 'CustomerMoved')
    ORDER BY customer_id, position DESC
) AS homes ON homes.customer_id = orders.customer_id
LEFT JOIN (
    SELECT DISTINCT ON (customer_id)
        (data ->> 'customerId')::bigint AS customer_id,
        data ->> 'name' AS name
    FROM staging
    WHERE type = 'CustomerRegistered'
    ORDER BY customer_id, position DESC
) AS registered ON registered.customer_id = homes.customer_id;
