-- Unreadable records of the activity feeds, and the number of records of each day.

-- name: count
-- $1 feeds text[].  $2 days date[].  $3 partitions integer[], all sorted as the key, and distinct.
-- $4 records bigint[]
INSERT INTO topic_days AS known (feed, day, partition, records, nameless)
SELECT feed, day, partition, records, 0
FROM unnest($1::text[], $2::date[], $3::integer[], $4::bigint[])
    AS new (feed, day, partition, records)
ON CONFLICT (feed, day, partition) DO UPDATE SET records = known.records + excluded.records;

-- name: add
-- Adds records with new dead letters.  If the organization in the key does not exist, the record
-- also counts once among its day's records that name nobody.
-- $1 topics text[].  $2 partitions integer[].  $3 offsets bigint[].  $4 recorded_at timestamptz[].
-- $5 feeds text[].  $6 used_at timestamptz[].  $7 organization_ids text[].  $8 letters integer[]
WITH added AS (
    INSERT INTO possible_use AS known (
        topic, partition, "offset", recorded_at, feed, used_at, organization_id, letters, nameless
    )
    SELECT
        topic, partition, "offset", recorded_at, feed, used_at, new.organization_id, letters,
        NOT EXISTS (
            SELECT FROM organizations
            WHERE organizations.organization_id = new.organization_id
              AND created AND document ->> 'erased_at' IS NULL
        )
    FROM unnest(
        $1::text[], $2::integer[], $3::bigint[], $4::timestamptz[], $5::text[], $6::timestamptz[],
        $7::text[], $8::integer[]
    ) AS new (topic, partition, "offset", recorded_at, feed, used_at, organization_id, letters)
    ON CONFLICT (topic, partition, "offset", recorded_at) DO UPDATE
    SET letters = known.letters + excluded.letters
    RETURNING feed, used_at, partition, nameless, xmax = 0 AS is_new
)
INSERT INTO topic_days AS known (feed, day, partition, records, nameless)
SELECT feed, (used_at AT TIME ZONE 'UTC')::date AS day, partition, 0, count(*)
FROM added
WHERE nameless AND is_new
GROUP BY feed, (used_at AT TIME ZONE 'UTC')::date, partition
ORDER BY feed, (used_at AT TIME ZONE 'UTC')::date, partition
ON CONFLICT (feed, day, partition) DO UPDATE SET nameless = known.nameless + excluded.nameless;

-- name: forget
-- Stops counting dead letters that still count: they are about to be redriven, or discarded as no
-- use.  Their rows are locked by the caller.
-- $1 ids bigint[]
WITH gone AS (
    SELECT topic, partition, "offset", recorded_at, count(*) AS letters
    FROM dead_letters
    WHERE id = ANY($1::bigint[]) AND status <> 'redriven' AND NOT no_use
    GROUP BY topic, partition, "offset", recorded_at
),
fewer AS (
    UPDATE possible_use SET letters = possible_use.letters - gone.letters
    FROM gone
    WHERE possible_use.topic = gone.topic AND possible_use.partition = gone.partition
      AND possible_use."offset" = gone."offset" AND possible_use.recorded_at = gone.recorded_at
      AND possible_use.letters > gone.letters
),
forgotten AS (
    DELETE FROM possible_use
    USING gone
    WHERE possible_use.topic = gone.topic AND possible_use.partition = gone.partition
      AND possible_use."offset" = gone."offset" AND possible_use.recorded_at = gone.recorded_at
      AND possible_use.letters <= gone.letters
    RETURNING possible_use.feed, possible_use.partition, possible_use.nameless,
        (possible_use.used_at AT TIME ZONE 'UTC')::date AS day
),
less AS (
    SELECT feed, day, partition, count(*) AS nameless
    FROM forgotten
    WHERE nameless
    GROUP BY feed, day, partition
)
UPDATE topic_days SET nameless = greatest(topic_days.nameless - less.nameless, 0)
FROM less
WHERE topic_days.feed = less.feed AND topic_days.day = less.day
  AND topic_days.partition = less.partition;

-- name: named
-- The newest possible use of some organizations in each feed, from a moment on.
-- $1 organization_ids text[].  $2 since timestamptz
SELECT organization_id, feed, max(used_at) AS used_at
FROM possible_use
WHERE organization_id = ANY($1::text[]) AND used_at >= $2
GROUP BY organization_id, feed;

-- name: days
-- The days, from $1 on, with records that name no organization; over all partitions.
-- $1 since date.  $2 feeds text[]
SELECT feed, day, sum(records)::bigint AS records, sum(nameless)::bigint AS nameless
FROM topic_days
WHERE feed = ANY($2::text[]) AND day >= $1
GROUP BY feed, day
HAVING sum(nameless) > 0;

-- name: delete_old
-- Records too old for any decision; by possible_use_by_age.  Returns how many records.
-- $1 before timestamptz.  $2 limit bigint
WITH days AS (
    DELETE FROM topic_days WHERE day < ($1::timestamptz AT TIME ZONE 'UTC')::date
),
gone AS (
    DELETE FROM possible_use
    WHERE (topic, partition, "offset", recorded_at) IN (
        SELECT topic, partition, "offset", recorded_at
        FROM possible_use
        WHERE used_at < $1
        ORDER BY used_at
        LIMIT $2
        FOR UPDATE SKIP LOCKED
    )
    RETURNING letters
)
SELECT count(*) FROM gone;
