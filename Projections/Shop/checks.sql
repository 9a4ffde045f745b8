-- An order's total and line count are those of its lines, and a line belongs to an order.
-- OFFSET 0 has the lines read as they lie: in the order of the key's index, which the planner likes
-- where there are too many for its memory, they take several times as long.
SELECT coalesce(orders.order_id, lines.order_id) AS order_id
FROM order_summary AS orders
FULL JOIN (
    SELECT order_id, count(*) AS line_count, sum(quantity * unit_cents) AS total_cents
    FROM (SELECT order_id, quantity, unit_cents FROM order_line OFFSET 0) AS line
    GROUP BY order_id
) AS lines ON lines.order_id = orders.order_id
WHERE orders.order_id IS NULL
    OR orders.line_count <> coalesce(lines.line_count, 0)
    OR orders.total_cents <> coalesce(lines.total_cents, 0);

-- A customer's totals are those of the customer's orders.
SELECT coalesce(totals.customer_id, orders.customer_id) AS customer_id
FROM customer_totals AS totals
FULL JOIN (
    SELECT
        customer_id,
        count(*) AS orders,
        count(cancelled_at) AS cancelled_orders,
        sum(paid_cents) AS paid_cents,
        max(placed_at) AS last_order_at
    FROM order_summary
    GROUP BY customer_id
) AS orders ON orders.customer_id = totals.customer_id
WHERE totals.orders IS DISTINCT FROM coalesce(orders.orders, 0)
    OR totals.cancelled_orders IS DISTINCT FROM coalesce(orders.cancelled_orders, 0)
    OR totals.paid_cents IS DISTINCT FROM coalesce(orders.paid_cents, 0)
    OR totals.last_order_at IS DISTINCT FROM orders.last_order_at;

-- A shipped order names its carrier.
SELECT order_id
FROM order_summary
WHERE (shipped_at IS NULL) <> (carrier IS NULL);
