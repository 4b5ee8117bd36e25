-- The workers that run, one row each.
-- A few rows: no index is needed besides the key.  Their times are the server's, not those of the
-- clock that dates decisions.

-- name: record
-- Also deletes the rows of workers that ended without a word more than a day ago.
-- $1 id uuid.  $2 host text.  $3 version text.  $4 loops text[].  $5 policy_version text.
-- $6 topic_warnings text[].  $7 not_ready text[].  $8 lag text.  $9 own_clock timestamptz
WITH gone AS (DELETE FROM workers WHERE seen_at < now() - interval '1 day' AND id <> $1)
INSERT INTO workers (
    id, host, version, loops, policy_version, topic_warnings, not_ready, lag, clock_ahead,
    started_at, seen_at
)
VALUES (
    $1, $2, $3, $4::text[], $5, $6::text[], $7::text[], $8::text::jsonb,
    $9::timestamptz - clock_timestamp(), now(), now()
)
ON CONFLICT (id) DO UPDATE SET
    not_ready = excluded.not_ready,
    lag = excluded.lag,
    clock_ahead = excluded.clock_ahead,
    seen_at = excluded.seen_at;

-- name: delete
-- $1 id uuid
DELETE FROM workers WHERE id = $1;

-- name: read
-- The oldest worker first.
SELECT
    id, host, version, loops, policy_version, topic_warnings, not_ready, lag, clock_ahead,
    started_at, greatest(clock_timestamp() - seen_at, interval '0') AS silent_for
FROM workers
ORDER BY started_at, id;
