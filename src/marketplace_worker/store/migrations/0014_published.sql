-- Whether the database holds what was published: a restore, or a failover to a standby that lags,
-- takes back what subscribers know.

-- What the topics say of each organization, while a recovery reads them; empty otherwise.
-- `organization_id`: also `worker`, for what the worker says of itself.  `document`: the numbers of
-- its newest event and snapshot, its last state, and the deactivation that nothing undid.
CREATE TABLE published (
    organization_id text PRIMARY KEY,
    sequence bigint NOT NULL CHECK (sequence >= 0),
    revision bigint NOT NULL CHECK (revision >= 0),
    document jsonb NOT NULL
);

-- Of which life of a server the content was compared with the newest that was published.  A server
-- that was promoted, restored or only started anew has another, and nothing harmful is done on it
-- until somebody has compared.
CREATE TABLE comparison (
    the_only_row boolean PRIMARY KEY DEFAULT true CHECK (the_only_row),
    server_started_at timestamptz NOT NULL
);
INSERT INTO comparison (server_started_at) SELECT pg_postmaster_start_time();

GRANT SELECT, INSERT, UPDATE, DELETE ON published TO marketplace_worker_app;
GRANT SELECT, UPDATE ON comparison TO marketplace_worker_app;
