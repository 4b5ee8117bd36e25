-- Messages decided but not yet known to be in Kafka.
-- Written only in the transaction that made them true; emptied only by the relay.

-- name: append
-- In the order in which they are given.
-- $1 shards smallint[].  $2 topics text[].  $3 keys bytea[].  $4 values bytea[].
-- $5 headers text[].  $6 written_at timestamptz
INSERT INTO outbox (shard, topic, key, value, headers, written_at)
SELECT shard, topic, key, value, headers::json, $6
FROM unnest($1::smallint[], $2::text[], $3::bytea[], $4::bytea[], $5::text[])
    WITH ORDINALITY AS new (shard, topic, key, value, headers, place)
ORDER BY place;

-- name: lead
-- Those of these shards whose messages this transaction may send; until it ends, no other may.  A
-- relay that is frozen amid it is taken for dead sooner than others.
-- $1 shards integer[].  $2 text, for how many milliseconds it may be silent.
-- (The first number names this use of advisory locks.)
SELECT shard, set_config('idle_in_transaction_session_timeout', $2, true)
FROM unnest($1::integer[]) AS asked (shard)
WHERE pg_try_advisory_xact_lock(73019, shard);

-- name: waiting
-- The shards that have anything to send; skips from shard to shard along outbox_by_shard.
WITH RECURSIVE waiting (shard) AS (
    (SELECT shard FROM outbox ORDER BY shard LIMIT 1)
    UNION ALL
    SELECT (SELECT o.shard FROM outbox AS o WHERE o.shard > waiting.shard ORDER BY o.shard LIMIT 1)
    FROM waiting
    WHERE waiting.shard IS NOT NULL
)
SELECT shard FROM waiting WHERE shard IS NOT NULL;

-- name: holds_more_than
-- Reads one row more at most, by the primary key alone.
-- $1 messages bigint
SELECT count(*) > $1 FROM (SELECT FROM outbox ORDER BY id LIMIT $1 + 1) AS first;

-- name: next_batch
-- The oldest unsent of each of these shards.  No SKIP LOCKED: one transaction leads a shard, and
-- skipping a locked row would send an organization's second message before the first.
-- $1 shards smallint[].  $2 limit bigint, of each.  $3 limit bigint, of all: the oldest
SELECT unsent.id, topic, key, value, headers
FROM unnest($1::smallint[]) AS led (shard)
CROSS JOIN LATERAL (
    SELECT id, topic, key, value, headers
    FROM outbox
    WHERE outbox.shard = led.shard
    ORDER BY id
    LIMIT $2
) AS unsent
ORDER BY unsent.id
LIMIT $3;

-- name: forget
-- $1 ids bigint[] that Kafka acknowledged, and no others
DELETE FROM outbox WHERE id = ANY($1::bigint[]);

-- name: oldest_s
-- How long ago the oldest promise was written, in seconds; null if there is none.  By the primary
-- key: of all shards the lowest id, which is the oldest but for what was written at the same time.
SELECT extract(epoch FROM clock_timestamp() - written_at)::float8 FROM outbox ORDER BY id LIMIT 1;
