-- The organizations: one row each, locked by whoever decides on it.
-- Every statement takes its rows in the order of organization_id.

-- name: ensure
-- A row for each, so that there is one to lock.
-- $1 organization_ids text[], sorted.  $2 documents text[]
INSERT INTO organizations (organization_id, document, state, sequence)
SELECT organization_id, document::jsonb, 'active', 0
FROM unnest($1::text[], $2::text[]) AS new (organization_id, document)
ON CONFLICT (organization_id) DO NOTHING;

-- name: lock
-- $1 organization_ids text[]
SELECT document
FROM organizations
WHERE organization_id = ANY($1::text[])
ORDER BY organization_id
FOR UPDATE;

-- name: claim_due
-- Those whose moment has come, each for one worker only: the lock is the claim, and a crash gives
-- it back.  Nothing waits here, so the order of locking does not matter.
-- $1 now timestamptz.  $2 limit bigint
SELECT organization_id, document
FROM organizations
WHERE next_due_at <= $1
ORDER BY next_due_at
LIMIT $2
FOR UPDATE SKIP LOCKED;

-- name: save
-- The rows are locked by the caller.
-- $1 organization_ids text[].  $2 documents text[].  $3 states text[].  $4 sequences bigint[].
-- $5 next_due_at timestamptz[]
UPDATE organizations
SET document = new.document::jsonb,
    state = new.state,
    sequence = new.sequence,
    next_due_at = new.next_due_at
FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::timestamptz[])
    AS new (organization_id, document, state, sequence, next_due_at)
WHERE organizations.organization_id = new.organization_id;

-- name: postpone
-- Only where it is still due: meanwhile another worker may have moved it.
-- $1 organization_id text.  $2 now timestamptz.  $3 next_due_at timestamptz
UPDATE organizations
SET next_due_at = $3
WHERE organization_id = $1 AND next_due_at <= $2;
