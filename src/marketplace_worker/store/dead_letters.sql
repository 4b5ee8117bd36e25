-- What could not be read, with its bytes and the reason, and what became of it since.
-- Rows are locked by id, before anything else that the same transaction locks.

-- name: append
-- A record delivered again is refused once.  Returns the places of those that are new.
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
-- All that waits, in the order in which it was refused; along dead_letters_waiting alone.
SELECT id FROM dead_letters WHERE status = 'waiting' ORDER BY id;

-- name: waiting_of_group
-- The same of one group; along dead_letters_by_group alone.
-- $1 group_id text
SELECT id FROM dead_letters WHERE group_id = $1 AND status = 'waiting' ORDER BY id;

-- name: knows_group
-- $1 group_id text
SELECT EXISTS (SELECT FROM dead_letters WHERE group_id = $1);

-- name: lock
-- Those of these that still have one of these statuses, once whoever had them locked is done.
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
-- They were taken in.  The rows are locked by the caller.
-- $1 ids bigint[].  $2 by text.  $3 because text.  $4 at timestamptz
UPDATE dead_letters
SET status = 'redriven', attempts = attempts + 1,
    acted_by = $2, acted_because = $3, acted_at = $4
WHERE id = ANY($1::bigint[]);

-- name: refused_again
-- They wait for another reason, or still for the same.  The rows are locked by the caller.
-- $1 ids bigint[].  $2 reasons text[].  $3 fields text[].  $4 group_ids text[].
-- $5 by text.  $6 because text.  $7 at timestamptz
UPDATE dead_letters
SET status = 'waiting', attempts = attempts + 1,
    reason = new.reason, field = new.field, group_id = new.group_id,
    acted_by = $5, acted_because = $6, acted_at = $7
FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[]) AS new (id, reason, field, group_id)
WHERE dead_letters.id = new.id;

-- name: lock_ids
-- The same without their bytes; in the order of `lock`, so that none of two operators waits for the
-- other for ever.
-- $1 ids bigint[].  $2 statuses text[]
SELECT id FROM dead_letters
WHERE id = ANY($1::bigint[]) AND status = ANY($2::text[])
ORDER BY id
FOR UPDATE;

-- name: discard
-- The rows are locked by the caller.  What was said to be no use stays so.
-- $1 ids bigint[].  $2 no_use boolean.  $3 by text.  $4 because text.  $5 at timestamptz
UPDATE dead_letters
SET status = 'discarded', no_use = no_use OR $2, acted_by = $3, acted_because = $4, acted_at = $5
WHERE id = ANY($1::bigint[]);

-- name: groups
-- What waits, by group; the largest first.  Reads all that waits, along dead_letters_waiting.
SELECT
    group_id, min(topic) AS topic, min(field) AS field, min(reason) AS reason,
    count(*) AS letters, count(*) FILTER (WHERE attempts > 1) AS retried,
    min(refused_at) AS first_at, max(refused_at) AS last_at
FROM dead_letters
WHERE status = 'waiting'
GROUP BY group_id
ORDER BY letters DESC, group_id;

-- name: page
-- The newest of a status before an id.  Back along the key; of what waits, dead_letters_waiting.
-- $1 status text.  $2 before_id bigint.  $3 limit bigint
SELECT
    id, topic, partition, "offset", part, recorded_at, refused_at, reason, field, group_id, status,
    attempts, counted, no_use, acted_by, acted_because, acted_at, octet_length(value) AS value_bytes
FROM dead_letters
WHERE status = $1 AND id < $2
ORDER BY id DESC
LIMIT $3;

-- name: page_of_group
-- The same of one group; back along dead_letters_by_group.
-- $1 status text.  $2 before_id bigint.  $3 limit bigint.  $4 group_id text
SELECT
    id, topic, partition, "offset", part, recorded_at, refused_at, reason, field, group_id, status,
    attempts, counted, no_use, acted_by, acted_because, acted_at, octet_length(value) AS value_bytes
FROM dead_letters
WHERE group_id = $4 AND status = $1 AND id < $2
ORDER BY id DESC
LIMIT $3;

-- name: delete_old
-- The oldest, whatever became of them; along dead_letters_by_age.  Returns how many.
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
