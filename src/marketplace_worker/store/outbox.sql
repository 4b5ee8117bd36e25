-- The outbox: messages that Kafka has not acknowledged yet.
-- Rows are inserted by the transaction whose decisions they publish, and deleted only by the relay.
-- A message is either in line (held_until is null) or held: Kafka refused it or an earlier message
-- of its key.  A held message never returns to the line; `due` selects it for sending.

-- name: topics
-- The topics of all messages in line; a skip scan of outbox_in_line.
WITH RECURSIVE topics (topic) AS (
    (SELECT topic FROM outbox WHERE held_until IS NULL ORDER BY topic LIMIT 1)
    UNION ALL
    SELECT (
        SELECT o.topic FROM outbox AS o
        WHERE o.topic > topics.topic AND o.held_until IS NULL
        ORDER BY o.topic
        LIMIT 1
    )
    FROM topics
    WHERE topics.topic IS NOT NULL
)
SELECT topic FROM topics WHERE topic IS NOT NULL
UNION
SELECT topic FROM outbox WHERE held_until IS NOT NULL;

-- name: lead
-- Locks shards of a topic; returns those that this transaction may send until it ends.  It also
-- shortens this transaction's idle timeout, so that a frozen relay loses its shards soon.
-- (The first number identifies this use of advisory locks.  Workers of earlier versions lock a
-- shard for all topics at once; the shared lock excludes them.)
-- $1 topic text.  $2 shards integer[].  $3 text, for how many milliseconds it may be silent.
SELECT shard, set_config('idle_in_transaction_session_timeout', $3, true)
FROM unnest($2::integer[]) AS asked (shard)
WHERE pg_try_advisory_xact_lock(hashtextextended($1, shard))
    AND pg_try_advisory_xact_lock_shared(73019, shard);

-- name: last_id
-- When the server was started, which identifies it, and the highest id that was assigned.  (An
-- unused sequence has its first value as its last one.)
SELECT pg_postmaster_start_time() AS server, last_value - (NOT is_called)::integer AS id
FROM outbox_id_seq;

-- name: promising
-- The open transactions that may have taken an id and not yet committed its row.  Each locks the
-- table before it takes an id.
SELECT DISTINCT virtualtransaction
FROM pg_locks
WHERE locktype = 'relation'
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND relation = 'outbox'::regclass
    AND mode = 'RowExclusiveLock'
    AND granted
    AND pid IS DISTINCT FROM pg_backend_pid();

-- name: waiting
-- The number of messages of a topic in line, counted up to one above the limit, and their shards;
-- and the shards with held messages that are due.
-- A message held for longer than the longest pause is due as well: the clock has jumped back.
-- $1 topic text.  $2 floors bigint[], of each shard: no id below is in line.  $3 limit bigint
SELECT messages, shards, ARRAY(
    SELECT shard::integer
    FROM generate_series(0, cardinality($2::bigint[]) - 1) AS of_topic (shard)
    WHERE EXISTS (
        SELECT FROM outbox
        WHERE topic = $1
            AND outbox.shard = of_topic.shard
            AND held_until <= statement_timestamp()
    ) OR EXISTS (
        SELECT FROM outbox
        WHERE topic = $1
            AND outbox.shard = of_topic.shard
            AND held_until > statement_timestamp() + interval '1 hour'
            AND held_until < 'infinity'
    )
) AS due
FROM (
    SELECT count(*) AS messages, array_agg(DISTINCT shard) AS shards
    FROM (
        SELECT of_topic.place - 1 AS shard
        FROM unnest($2::bigint[]) WITH ORDINALITY AS of_topic (floor, place)
        CROSS JOIN LATERAL (
            SELECT FROM outbox
            WHERE (topic, outbox.shard, id)
                    >= ($1, (of_topic.place - 1)::smallint, of_topic.floor)
                AND (topic, outbox.shard, id) < ($1, of_topic.place::smallint, 0::bigint)
                AND held_until IS NULL
            ORDER BY topic, outbox.shard, id
            LIMIT $3 + 1
        ) AS first
        LIMIT $3 + 1
    ) AS in_line
) AS counted;

-- name: next_batch
-- The oldest messages in line of each shard, and whether a message of their key is held.  Without
-- SKIP LOCKED: one transaction leads a shard, and skipping a locked row would send an
-- organization's second message before its first.
-- The three columns are compared as one row, so that Postgres uses the index on exactly these.
-- $1 topic text.  $2 shards smallint[].  $3 floors bigint[], of each: no id below is in line.
-- $4 limit bigint, for each shard.  $5 limit bigint, for all: the oldest
SELECT unsent.id, unsent.shard, topic, key, value, headers, refusals, EXISTS (
    SELECT FROM outbox AS held
    WHERE held.topic = $1 AND sha256(held.key) = sha256(unsent.key) AND held.held_until IS NOT NULL
) AS behind
FROM unnest($2::smallint[], $3::bigint[]) AS led (shard, floor)
CROSS JOIN LATERAL (
    SELECT id, outbox.shard, topic, key, value, headers, refusals
    FROM outbox
    WHERE (topic, outbox.shard, id) >= ($1, led.shard, led.floor)
        AND (topic, outbox.shard, id) < ($1, (led.shard + 1)::smallint, 0::bigint)
        AND held_until IS NULL
    ORDER BY topic, outbox.shard, id
    LIMIT $4
) AS unsent
ORDER BY unsent.id
LIMIT $5;

-- name: due
-- The held messages of each shard that are due, the longest due first; and whether an earlier
-- message of the same key is held for longer.
-- $1 topic text.  $2 shards smallint[].  $3 limit bigint, for each shard
WITH due AS MATERIALIZED (
    SELECT held.id, held.key_hash
    FROM unnest($2::smallint[]) AS led (shard)
    CROSS JOIN LATERAL (
        (
            SELECT id, sha256(key) AS key_hash
            FROM outbox
            WHERE topic = $1
                AND outbox.shard = led.shard
                AND held_until <= statement_timestamp()
            ORDER BY held_until, id
            LIMIT $3
        )
        UNION ALL
        (
            SELECT id, sha256(key)
            FROM outbox
            WHERE topic = $1
                AND outbox.shard = led.shard
                AND held_until > statement_timestamp() + interval '1 hour'
                AND held_until < 'infinity'
            ORDER BY held_until, id
            LIMIT $3
        )
    ) AS held
)
SELECT outbox.id, topic, key, value, headers, refusals, EXISTS (
    SELECT FROM outbox AS held
    WHERE held.topic = $1
        AND sha256(held.key) = due.key_hash
        AND held.held_until IS NOT NULL
        AND held.id < due.id
        AND held.id <> ALL(ARRAY(SELECT id FROM due))
) AS behind
FROM due
JOIN outbox ON outbox.id = due.id
ORDER BY outbox.id;

-- name: hold
-- Holds messages that Kafka refused.
-- $1 ids bigint[].  $2 refusals integer[], their numbers so far.  $3 pauses double precision[] (s)
UPDATE outbox
SET refusals = refused.refusals,
    held_until = clock_timestamp() + make_interval(secs => refused.pause_s)
FROM unnest($1::bigint[], $2::integer[], $3::double precision[]) AS refused (id, refusals, pause_s)
WHERE outbox.id = ANY($1::bigint[]) AND outbox.id = refused.id;

-- name: hold_behind
-- Holds messages until an earlier one of their key is sent.
-- $1 ids bigint[]
UPDATE outbox SET held_until = 'infinity' WHERE id = ANY($1::bigint[]);

-- name: release
-- Makes the messages behind these due: these were held, and Kafka has acknowledged them.
-- $1 ids bigint[]
UPDATE outbox AS behind
SET held_until = clock_timestamp()
FROM outbox AS sent
WHERE sent.id = ANY($1::bigint[])
    AND behind.topic = sent.topic
    AND sha256(behind.key) = sha256(sent.key)
    AND behind.held_until = 'infinity';

-- name: forget
-- $1 ids bigint[], acknowledged by Kafka
DELETE FROM outbox WHERE id = ANY($1::bigint[]);

-- name: oldest
-- The oldest message in line, and its age in seconds.  By the primary key: the lowest id of all
-- shards is the oldest one, except for messages written concurrently.
-- $1 floor bigint: no id below is in line
SELECT id, extract(epoch FROM clock_timestamp() - written_at)::float8 AS age_s
FROM outbox
WHERE id >= $1 AND held_until IS NULL
ORDER BY id
LIMIT 1;

-- name: held
-- The number of messages that Kafka has refused and that will be sent again.
SELECT count(*) FROM outbox WHERE held_until < 'infinity' AND refusals > 0;
