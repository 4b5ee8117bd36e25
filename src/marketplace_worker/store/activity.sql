-- Logins and API usage, aggregated by organization: the newest of each, and the counts.

-- name: lock_offsets
-- The read progress of each partition, locked, so that only one worker counts a record.
-- $1 topics text[].  $2 partitions integer[], both sorted
INSERT INTO activity_offsets AS known (topic, partition, next_offset, newest_at)
SELECT topic, partition, 0, 'epoch'
FROM unnest($1::text[], $2::integer[]) AS new (topic, partition)
ON CONFLICT (topic, partition) DO UPDATE SET next_offset = known.next_offset
RETURNING topic, partition, next_offset, newest_at;

-- name: offsets
-- The read progress of each partition, by the key.
-- $1 topics text[].  $2 partitions integer[]
SELECT topic, partition, next_offset, newest_at
FROM unnest($1::text[], $2::integer[]) AS asked (topic, partition)
JOIN activity_offsets USING (topic, partition);

-- name: move_offsets
-- $1 topics text[].  $2 partitions integer[].  $3 next_offsets bigint[].  $4 newest_at timestamptz[]
UPDATE activity_offsets
SET next_offset = new.next_offset,
    newest_at = new.newest_at
FROM unnest($1::text[], $2::integer[], $3::bigint[], $4::timestamptz[])
    AS new (topic, partition, next_offset, newest_at)
WHERE activity_offsets.topic = new.topic AND activity_offsets.partition = new.partition;

-- name: newest_record_at
-- The newest Kafka timestamp of the records read so far, ignoring those after $1; null: none.
-- Reads all rows, one for each partition.
-- $1 until timestamptz
SELECT max(newest_at) FROM activity_offsets WHERE newest_at > 'epoch' AND newest_at <= $1;

-- name: count
-- One input row for each organization in the batch; greatest() ignores nulls.
-- $1 organization_ids text[], sorted and distinct.  $2 last_login_at timestamptz[].
-- $3 last_request_at timestamptz[].  $4 logins bigint[].  $5 requests bigint[]
INSERT INTO activity AS known (organization_id, last_login_at, last_request_at, logins, requests)
SELECT *
FROM unnest($1::text[], $2::timestamptz[], $3::timestamptz[], $4::bigint[], $5::bigint[])
ON CONFLICT (organization_id) DO UPDATE
SET last_login_at = greatest(known.last_login_at, excluded.last_login_at),
    last_request_at = greatest(known.last_request_at, excluded.last_request_at),
    logins = known.logins + excluded.logins,
    requests = known.requests + excluded.requests;

-- name: count_logins
-- Stores the first and the last login of each UTC day, unless the day is older than the period
-- kept.  The period ends with the newest login, in the row of `activity`, which `count` has just
-- written and still locks.  The first login of a day also deletes days that are too old; a later
-- one only updates `last_at`.
-- $1 organization_ids text[].  $2 days date[], both sorted as the key, and distinct.
-- $3 first_at timestamptz[].  $4 last_at timestamptz[].  $5 kept interval
WITH counted AS (
    INSERT INTO login_days AS known (organization_id, day, first_at, last_at)
    SELECT organization_id, day, first_at, last_at
    FROM unnest($1::text[], $2::date[], $3::timestamptz[], $4::timestamptz[])
        AS new (organization_id, day, first_at, last_at)
    JOIN activity USING (organization_id)
    WHERE day >= (last_login_at AT TIME ZONE 'UTC' - $5::interval)::date
    ORDER BY organization_id, day
    ON CONFLICT (organization_id, day) DO UPDATE
    SET first_at = least(known.first_at, excluded.first_at),
        last_at = greatest(known.last_at, excluded.last_at)
    RETURNING organization_id, xmax = 0 AS is_new
)
DELETE FROM login_days
USING (SELECT DISTINCT organization_id FROM counted WHERE is_new) AS new
JOIN activity USING (organization_id)
WHERE login_days.organization_id = new.organization_id
  AND login_days.day < (activity.last_login_at AT TIME ZONE 'UTC' - $5::interval)::date;

-- name: logins
-- The stored logins of some organizations, each from its own day on; by the key.
-- $1 organization_ids text[].  $2 since date[]
SELECT organization_id, array_agg(first_at) AS first_at, array_agg(last_at) AS last_at
FROM unnest($1::text[], $2::date[]) AS wanted (organization_id, since)
JOIN login_days USING (organization_id)
WHERE login_days.day >= wanted.since
GROUP BY organization_id;

-- name: ensure
-- Inserts missing rows, so that there is a row to lock.
-- $1 organization_ids text[], sorted and distinct
INSERT INTO activity (organization_id, logins, requests)
SELECT organization_id, 0, 0
FROM unnest($1::text[]) AS new (organization_id)
ON CONFLICT (organization_id) DO NOTHING;

-- name: lock
-- Locks and reads the last activity, in the order in which `count` locks, so that no activity is
-- counted while a decision uses the result.
-- $1 organization_ids text[], sorted and distinct
SELECT organization_id, last_login_at, last_request_at
FROM activity
JOIN unnest($1::text[]) WITH ORDINALITY AS wanted (organization_id, place) USING (organization_id)
ORDER BY place
FOR UPDATE OF activity;

-- name: read
-- $1 organization_ids text[]
SELECT organization_id, last_login_at, last_request_at
FROM activity
WHERE organization_id = ANY($1::text[]);

-- name: save_feed_days
-- When records of a feed arrived.  By partition, so that consumers do not wait for one another.
-- $1 feeds text[].  $2 days date[].  $3 partitions integer[], all sorted as the key, and distinct.
-- $4 first_at timestamptz[].  $5 last_at timestamptz[]
INSERT INTO feed_days AS known (feed, day, partition, first_at, last_at)
SELECT *
FROM unnest($1::text[], $2::date[], $3::integer[], $4::timestamptz[], $5::timestamptz[])
ON CONFLICT (feed, day, partition) DO UPDATE
SET first_at = least(known.first_at, excluded.first_at),
    last_at = greatest(known.last_at, excluded.last_at);

-- name: feeds
-- Each feed's days from $1 on, over all partitions, and the last day before: for a feed that has
-- been silent since, this is when it was last received.
-- $1 since date.  $2 feeds text[]
SELECT asked.feed, span.day, min(span.first_at) AS first_at, max(span.last_at) AS last_at
FROM unnest($2::text[]) AS asked (feed)
CROSS JOIN LATERAL (
    SELECT day, first_at, last_at
    FROM feed_days
    WHERE feed = asked.feed AND day >= $1::date
    UNION ALL
    SELECT day, first_at, last_at
    FROM feed_days
    WHERE feed = asked.feed
      AND day = (
          SELECT max(earlier.day) FROM feed_days AS earlier
          WHERE earlier.feed = asked.feed AND earlier.day < $1::date
      )
) AS span
GROUP BY asked.feed, span.day;
