-- The workers that run: each writes its row every 15 seconds, and deletes it when it stops.
CREATE TABLE workers (
    id uuid PRIMARY KEY,
    host text NOT NULL,
    version text NOT NULL,
    loops text[] NOT NULL,
    policy_version text NOT NULL,
    topic_warnings text[] NOT NULL,
    not_ready text[] NOT NULL,
    lag jsonb NOT NULL,
    clock_ahead interval NOT NULL,
    started_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL
);

GRANT SELECT, INSERT, UPDATE, DELETE ON workers TO marketplace_worker_app;
