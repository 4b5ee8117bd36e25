-- Logins and API usage, coalesced: the newest of each and how many, per organization.

-- name: lock_offsets
-- How far each partition was counted; locked, so that one record is counted by one worker.
-- $1 topics text[].  $2 partitions integer[], both sorted
INSERT INTO activity_offsets AS known (topic, partition, next_offset, newest_at)
SELECT topic, partition, 0, 'epoch'
FROM unnest($1::text[], $2::integer[]) AS new (topic, partition)
ON CONFLICT (topic, partition) DO UPDATE SET next_offset = known.next_offset
RETURNING topic, partition, next_offset, newest_at;

-- name: move_offsets
-- $1 topics text[].  $2 partitions integer[].  $3 next_offsets bigint[].  $4 newest_at timestamptz[]
UPDATE activity_offsets
SET next_offset = new.next_offset,
    newest_at = new.newest_at
FROM unnest($1::text[], $2::integer[], $3::bigint[], $4::timestamptz[])
    AS new (topic, partition, next_offset, newest_at)
WHERE activity_offsets.topic = new.topic AND activity_offsets.partition = new.partition;

-- name: count
-- One row an organization, whatever the batch held of it; greatest() passes over null.
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
