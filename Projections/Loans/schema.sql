CREATE TABLE loan_application (
    application text PRIMARY KEY,
    state loan_state NOT NULL,
    amount bigint,
    first_event_at timestamptz NOT NULL,
    last_event_at timestamptz NOT NULL,
    offers integer NOT NULL,
    resources text[] NOT NULL
);

COMMENT ON TABLE loan_application IS 'Where each loan application stands and who worked on it.';
COMMENT ON COLUMN loan_application.application IS 'The stream of the application.';
COMMENT ON COLUMN loan_application.amount IS 'The amount asked for.';
COMMENT ON COLUMN loan_application.offers IS 'Offers created for it.';
COMMENT ON COLUMN loan_application.resources IS 'Who worked on it, each once, by first appearance.';

CREATE INDEX loan_application_state_idx ON loan_application (state);

CREATE TABLE loan_offer_daily (
    day date NOT NULL,
    offer_event text NOT NULL,
    events bigint NOT NULL,
    PRIMARY KEY (day, offer_event)
);

COMMENT ON TABLE loan_offer_daily IS 'How many offer events of each kind there were on each day.';
COMMENT ON COLUMN loan_offer_daily.day IS 'The day in UTC.';
COMMENT ON COLUMN loan_offer_daily.offer_event IS 'The type of the event, such as O_CREATED.';

CREATE TABLE work_item (
    application text NOT NULL,
    number integer NOT NULL,
    item text NOT NULL,
    started_at timestamptz,
    completed_at timestamptz NOT NULL,
    minutes double precision,
    PRIMARY KEY (application, number)
);

COMMENT ON TABLE work_item IS 'One row for each completed item of work.';
COMMENT ON COLUMN work_item.number IS '1, 2, … within the application, in the order of completion.';
COMMENT ON COLUMN work_item.item IS 'What was done: the type of the event.';
COMMENT ON COLUMN work_item.started_at IS 'NULL where the log holds no start that was open.';
COMMENT ON COLUMN work_item.minutes IS 'From start to completion; NULL without a start.';

CREATE INDEX work_item_item_idx ON work_item (item);
