-- The topics whose intake was stopped, and who resumed it.
-- A few rows, one for each topic that was ever stopped: no index is needed besides the key.

-- name: stops
-- Runs for every batch; the table is nearly always empty.
SELECT topic, stopped_at, resumed_at IS NULL AS holds
FROM intake_stops;

-- name: stop
-- Keeps the row of a topic that another worker has stopped meanwhile.  Returns the newly stopped
-- topics.
-- $1 topics text[].  $2 records bigint[].  $3 refused bigint[].  $4 reasons text[].
-- $5 fields text[].  $6 stopped_at timestamptz
INSERT INTO intake_stops AS known (topic, stopped_at, records, refused, reason, field)
SELECT topic, $6, records, refused, reason, field
FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::text[])
    AS new (topic, records, refused, reason, field)
ORDER BY topic
ON CONFLICT (topic) DO UPDATE SET
    stopped_at = excluded.stopped_at,
    records = excluded.records,
    refused = excluded.refused,
    reason = excluded.reason,
    field = excluded.field,
    resumed_at = NULL,
    resumed_by = NULL,
    resumed_because = NULL
WHERE known.resumed_at IS NOT NULL
RETURNING topic, stopped_at, true AS holds;

-- name: resume
-- Returns the topic, or no row if it was not stopped.
-- $1 topic text.  $2 resumed_by text.  $3 resumed_because text.  $4 resumed_at timestamptz
UPDATE intake_stops
SET resumed_at = $4, resumed_by = $2, resumed_because = $3
WHERE topic = $1 AND resumed_at IS NULL
RETURNING topic;

-- name: history
-- For operators: stopped topics first, then resumed ones, each with the newest first.
SELECT topic, stopped_at, records, refused, reason, field, resumed_at, resumed_by, resumed_because
FROM intake_stops
ORDER BY resumed_at IS NOT NULL, stopped_at DESC, topic;
