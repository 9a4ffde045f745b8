-- The items of an application are numbered 1, 2, … without a gap.
SELECT application
FROM work_item
GROUP BY application
HAVING min(number) <> 1 OR max(number) <> count(*);

-- An item of work belongs to an application.
SELECT items.application, items.number
FROM work_item AS items
WHERE NOT EXISTS (
    SELECT FROM loan_application AS loans WHERE loans.application = items.application
);

-- Minutes are known exactly where the start is.
SELECT application, number
FROM work_item
WHERE (started_at IS NULL) <> (minutes IS NULL);

-- The offers of the applications are the offers created on all days.
SELECT created.events AS created, applications.offers AS offers
FROM (
    SELECT coalesce(sum(events), 0) AS events
    FROM loan_offer_daily
    WHERE offer_event = 'O_CREATED'
) AS created
CROSS JOIN (
    SELECT coalesce(sum(offers), 0) AS offers FROM loan_application
) AS applications
WHERE created.events <> applications.offers;

-- An application does not end before it begins.
SELECT application
FROM loan_application
WHERE last_event_at < first_event_at;
