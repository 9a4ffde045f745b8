-- A line has one piece at least.
SELECT order_id
FROM fulfilment
WHERE pieces < lines OR lines < 0;

-- A shipped order names its carrier.
SELECT order_id
FROM fulfilment
WHERE (shipped_at IS NULL) <> (carrier IS NULL);
