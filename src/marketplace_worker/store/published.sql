-- The published records of each organization, gathered to compare them with the database.

-- name: read
-- $1 organization_ids text[]
SELECT document FROM published WHERE organization_id = ANY($1::text[]);

-- name: save
-- $1 organization_ids text[], sorted and distinct.  $2 sequences bigint[].  $3 revisions bigint[].
-- $4 documents text[]
INSERT INTO published (organization_id, sequence, revision, document)
SELECT organization_id, sequence, revision, document::jsonb
FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[])
    AS new (organization_id, sequence, revision, document)
ON CONFLICT (organization_id) DO UPDATE
SET sequence = excluded.sequence, revision = excluded.revision, document = excluded.document;

-- name: page
-- The organizations for which the topics have higher numbers than the database, or another state;
-- by both keys.
-- `lost`: the published closure is unknown here: no such event is in the history (its number may
-- have been reused), and nobody has judged it since.
-- $1 after_id text.  $2 limit bigint
SELECT
    latest.document, coalesce(stored.created, false) AS created, stored.state,
    coalesce(stored.sequence, 0) AS sequence,
    coalesce((stored.document ->> 'revision')::bigint, 0) AS revision,
    stored.document ->> 'erased_at' IS NOT NULL AS erased,
    stored.document ->> 'published_closed' IS NOT NULL AS in_doubt,
    closure.lost
FROM published AS latest
LEFT JOIN organizations AS stored USING (organization_id)
CROSS JOIN LATERAL (
    SELECT stored.state IS DISTINCT FROM 'deactivated' AND (
        (latest.document ->> 'erased')::boolean
        OR latest.document ->> 'state' = 'deactivated'
        AND latest.sequence > coalesce(stored.sequence, 0)
        OR latest.document ->> 'closed_by' IS NOT NULL
        AND NOT EXISTS (
            SELECT FROM decisions
            WHERE decisions.organization_id = latest.organization_id
              AND decisions.events @> jsonb_build_array(
                  jsonb_build_object('id', latest.document ->> 'closed_by')
              )
        )
        AND NOT EXISTS (
            SELECT FROM journal
            WHERE journal.organization_id = latest.organization_id
              AND journal.kind = 'closure_judged'
              AND journal.decided_at > (latest.document ->> 'closed_at')::timestamptz
        )
    ) AS lost
) AS closure
WHERE latest.organization_id > $1 AND latest.organization_id <> 'worker'
  AND (
      latest.sequence > coalesce(stored.sequence, 0)
      OR latest.revision > coalesce((stored.document ->> 'revision')::bigint, 0)
      OR latest.document ->> 'state' <> coalesce(stored.state, '')
      OR (latest.document ->> 'erased')::boolean AND stored.document ->> 'erased_at' IS NULL
      OR closure.lost
  )
ORDER BY latest.organization_id
LIMIT $2;

-- name: count
SELECT count(*) FROM published;

-- name: forget
-- Deletes all rows; they can be gathered from the topics again.
DELETE FROM published;

-- name: beyond
-- Those among some organizations with published numbers above the stored ones.  (The numbers of the
-- worker's own events are in the safeguards.)
-- $1 organization_ids text[].  $2 sequences bigint[].  $3 revisions bigint[]
SELECT latest.organization_id
FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS latest (organization_id, sequence, revision)
LEFT JOIN organizations AS stored USING (organization_id)
WHERE CASE
    WHEN latest.organization_id = 'worker'
    THEN latest.sequence > (SELECT coalesce((document ->> 'sequence')::bigint, 0) FROM safeguards)
    ELSE latest.sequence > coalesce(stored.sequence, 0)
      OR latest.revision > coalesce((stored.document ->> 'revision')::bigint, 0)
END
ORDER BY latest.organization_id;

-- name: server_started_at
SELECT pg_postmaster_start_time();

-- name: is_compared
SELECT server_started_at = pg_postmaster_start_time() FROM comparison;

-- name: compared
-- $1 server_started_at timestamptz
UPDATE comparison SET server_started_at = $1;
