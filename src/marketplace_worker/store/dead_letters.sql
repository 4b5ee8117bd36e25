-- What could not be read, with its bytes and the reason.

-- name: append
-- A record delivered again is refused once.  Returns the places of those that are new.
-- $1 topics text[].  $2 partitions integer[].  $3 offsets bigint[].  $4 parts integer[].
-- $5 recorded_at timestamptz[].  $6 reasons text[].  $7 fields text[].  $8 keys bytea[].
-- $9 values bytea[].  $10 headers text[].  $11 refused_at timestamptz
INSERT INTO dead_letters (
    topic, partition, "offset", part, recorded_at, reason, field, key, value, headers, refused_at
)
SELECT topic, partition, "offset", part, recorded_at, reason, field, key, value, headers::json, $11
FROM unnest(
    $1::text[], $2::integer[], $3::bigint[], $4::integer[], $5::timestamptz[], $6::text[],
    $7::text[], $8::bytea[], $9::bytea[], $10::text[]
) AS new (
    topic, partition, "offset", part, recorded_at, reason, field, key, value, headers
)
ON CONFLICT ON CONSTRAINT dead_letters_position DO NOTHING
RETURNING topic, partition, "offset", recorded_at, part;
