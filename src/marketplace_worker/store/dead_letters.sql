-- Dead letters: records that could not be read, with their bytes, the reason and the status.
-- Rows are locked in the order of their ids, before any other lock of the same transaction.

-- name: append
-- Ignores parts that are stored already.  Returns the places of the new ones.
-- $1 topics text[].  $2 partitions integer[].  $3 offsets bigint[].  $4 parts integer[].
-- $5 recorded_at timestamptz[].  $6 reasons text[].  $7 fields text[].  $8 group_ids text[].
-- $9 counted boolean[].  $10 keys bytea[].  $11 values bytea[].  $12 headers text[].
-- $13 refused_at timestamptz.  $14 left_out_bytes bigint[]
INSERT INTO dead_letters (
    topic, partition, "offset", part, recorded_at, reason, field, group_id, counted, key, value,
    headers, left_out_bytes, refused_at
)
SELECT
    topic, partition, "offset", part, recorded_at, reason, field, group_id, counted, key, value,
    headers::json, left_out_bytes, $13
FROM unnest(
    $1::text[], $2::integer[], $3::bigint[], $4::integer[], $5::timestamptz[], $6::text[],
    $7::text[], $8::text[], $9::boolean[], $10::bytea[], $11::bytea[], $12::text[],
    $14::bigint[]
) AS new (
    topic, partition, "offset", part, recorded_at, reason, field, group_id, counted, key, value,
    headers, left_out_bytes
)
ON CONFLICT ON CONSTRAINT dead_letters_position DO NOTHING
RETURNING topic, partition, "offset", recorded_at, part;

-- name: waiting
-- All waiting ones, in the order of refusal; an index-only scan of dead_letters_waiting.
SELECT id FROM dead_letters WHERE status = 'waiting' ORDER BY id;

-- name: backlog
-- How many wait, counted up to $1, and when the first of them was refused; by the index
-- dead_letters_waiting.
-- $1 limit bigint
SELECT
    (SELECT count(*) FROM (
        SELECT FROM dead_letters WHERE status = 'waiting' LIMIT $1
    ) AS counted) AS letters,
    (SELECT refused_at FROM dead_letters WHERE status = 'waiting' ORDER BY id LIMIT 1) AS since;

-- name: waiting_of_group
-- The same for one group; an index-only scan of dead_letters_by_group.
-- $1 group_id text
SELECT id FROM dead_letters WHERE group_id = $1 AND status = 'waiting' ORDER BY id;

-- name: knows_group
-- $1 group_id text
SELECT EXISTS (SELECT FROM dead_letters WHERE group_id = $1);

-- name: lock
-- Locks those among $1 that have one of the statuses when other transactions have released them.
-- $1 ids bigint[].  $2 statuses text[]
SELECT
    id, topic, partition, "offset", part, recorded_at, refused_at, reason, field, group_id, status,
    attempts, counted, no_use, acted_by, acted_because, acted_at, octet_length(value) AS value_bytes, key, value,
    headers, left_out_bytes
FROM dead_letters
WHERE id = ANY($1::bigint[]) AND status = ANY($2::text[])
ORDER BY id
FOR UPDATE;

-- name: summaries
-- $1 ids bigint[]
SELECT
    id, topic, partition, "offset", part, recorded_at, refused_at, reason, field, group_id, status,
    attempts, counted, no_use, acted_by, acted_because, acted_at, octet_length(value) AS value_bytes
FROM dead_letters
WHERE id = ANY($1::bigint[])
ORDER BY id;

-- name: read
-- $1 ids bigint[]
SELECT
    id, topic, partition, "offset", part, recorded_at, refused_at, reason, field, group_id, status,
    attempts, counted, no_use, acted_by, acted_because, acted_at, octet_length(value) AS value_bytes, key, value,
    headers, left_out_bytes
FROM dead_letters
WHERE id = ANY($1::bigint[])
ORDER BY id;

-- name: redriven
-- Marks redriven ones.  The rows are locked by the caller.
-- $1 ids bigint[].  $2 by text.  $3 because text.  $4 at timestamptz
UPDATE dead_letters
SET status = 'redriven', attempts = attempts + 1,
    acted_by = $2, acted_because = $3, acted_at = $4
WHERE id = ANY($1::bigint[]);

-- name: refused_again
-- Keeps them waiting, with a new reason or the same one.  The rows are locked by the caller.
-- $1 ids bigint[].  $2 reasons text[].  $3 fields text[].  $4 group_ids text[].
-- $5 by text.  $6 because text.  $7 at timestamptz
UPDATE dead_letters
SET status = 'waiting', attempts = attempts + 1,
    reason = new.reason, field = new.field, group_id = new.group_id,
    acted_by = $5, acted_because = $6, acted_at = $7
FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[]) AS new (id, reason, field, group_id)
WHERE dead_letters.id = new.id;

-- name: lock_ids
-- Like `lock`, without the bytes; in the same order, so that two operators cannot deadlock.
-- $1 ids bigint[].  $2 statuses text[]
SELECT id FROM dead_letters
WHERE id = ANY($1::bigint[]) AND status = ANY($2::text[])
ORDER BY id
FOR UPDATE;

-- name: discard
-- The rows are locked by the caller.  `no_use` is never reset.
-- $1 ids bigint[].  $2 no_use boolean.  $3 by text.  $4 because text.  $5 at timestamptz
UPDATE dead_letters
SET status = 'discarded', no_use = no_use OR $2, acted_by = $3, acted_because = $4, acted_at = $5
WHERE id = ANY($1::bigint[]);

-- name: groups
-- The waiting ones by group; the largest first.  Reads all waiting rows, by dead_letters_waiting.
SELECT
    group_id, min(topic) AS topic, min(field) AS field, min(reason) AS reason,
    count(*) AS letters, count(*) FILTER (WHERE attempts > 1) AS retried,
    min(refused_at) AS first_at, max(refused_at) AS last_at
FROM dead_letters
WHERE status = 'waiting'
GROUP BY group_id
ORDER BY letters DESC, group_id;

-- name: page
-- The newest with a status, below an id.  A backward scan of the key; of dead_letters_waiting for
-- the status `waiting`.
-- $1 status text.  $2 before_id bigint.  $3 limit bigint
SELECT
    id, topic, partition, "offset", part, recorded_at, refused_at, reason, field, group_id, status,
    attempts, counted, no_use, acted_by, acted_because, acted_at, octet_length(value) AS value_bytes
FROM dead_letters
WHERE status = $1 AND id < $2
ORDER BY id DESC
LIMIT $3;

-- name: page_of_group
-- The same for one group; a backward scan of dead_letters_by_group.
-- $1 status text.  $2 before_id bigint.  $3 limit bigint.  $4 group_id text
SELECT
    id, topic, partition, "offset", part, recorded_at, refused_at, reason, field, group_id, status,
    attempts, counted, no_use, acted_by, acted_because, acted_at, octet_length(value) AS value_bytes
FROM dead_letters
WHERE group_id = $4 AND status = $1 AND id < $2
ORDER BY id DESC
LIMIT $3;

-- name: delete_old
-- The oldest, with any status; by dead_letters_by_age.  Returns how many.
-- $1 before timestamptz.  $2 limit bigint
WITH gone AS (
    DELETE FROM dead_letters
    WHERE id IN (
        SELECT id FROM dead_letters WHERE refused_at < $1 ORDER BY refused_at, id LIMIT $2
        FOR UPDATE SKIP LOCKED
    )
    RETURNING id
)
SELECT count(*) FROM gone;
