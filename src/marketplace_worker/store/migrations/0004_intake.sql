-- The topics of which no more is taken in, until an operator says otherwise.

-- One row a topic, of its last stop; `resumed_at` is null while it holds.
CREATE TABLE intake_stops (
    topic text PRIMARY KEY,
    stopped_at timestamptz NOT NULL,
    records bigint NOT NULL CHECK (records > 0),
    refused bigint NOT NULL CHECK (refused BETWEEN 1 AND records),
    reason text NOT NULL,
    field text NOT NULL,
    resumed_at timestamptz,
    resumed_by text,
    resumed_because text,
    CHECK (num_nonnulls(resumed_at, resumed_by, resumed_because) IN (0, 3))
);
COMMENT ON COLUMN intake_stops.records IS 'of so many records that one worker read of late';
COMMENT ON COLUMN intake_stops.reason IS 'why the last of the refused ones was, with its field';

GRANT SELECT, INSERT, UPDATE ON intake_stops TO marketplace_worker_app;
