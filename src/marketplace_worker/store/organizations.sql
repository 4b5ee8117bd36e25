-- The organizations, one row each, locked by the transaction that decides on it.
-- Every statement locks its rows in the order of organization_id.

-- name: ensure
-- Inserts missing rows, so that there is a row to lock.  Most are known, and no document is built
-- for these; a row that another transaction inserts meanwhile is a conflict.
-- $1 organization_ids text[], sorted.  $2 document text, of a new one; its id is replaced
INSERT INTO organizations (organization_id, document, state, sequence)
SELECT organization_id, jsonb_set($2::text::jsonb, '{id}', to_jsonb(organization_id)), 'active', 0
FROM unnest($1::text[]) WITH ORDINALITY AS new (organization_id, place)
WHERE NOT EXISTS (
    SELECT FROM organizations AS known WHERE known.organization_id = new.organization_id
)
ORDER BY place
ON CONFLICT (organization_id) DO NOTHING;

-- name: lock
-- $1 organization_ids text[]
SELECT document
FROM organizations
WHERE organization_id = ANY($1::text[])
ORDER BY organization_id
FOR UPDATE;

-- name: read
-- Without a lock.
-- $1 organization_ids text[]
SELECT document
FROM organizations
WHERE organization_id = ANY($1::text[]);

-- name: claim_due
-- Claims due organizations, each for one worker: the lock is the claim, and a crash releases it.
-- The statement never waits for a lock, so the order of locks does not matter.
-- $1 since timestamptz.  $2 now timestamptz.  $3 limit bigint
SELECT organization_id, document, next_due_at
FROM organizations
WHERE next_due_at BETWEEN $1 AND $2
ORDER BY next_due_at, organization_id
LIMIT $3
FOR UPDATE SKIP LOCKED;

-- name: save
-- The rows are locked by the caller.
-- $1 organization_ids text[].  $2 documents text[].  $3 next_due_at timestamptz[].
-- $4 states text[].  $5 sequences bigint[].  $6 created boolean[].  $7 watches_activity boolean[].
-- $8 withheld boolean[].  $9 owner_emails text[].  $10 locked_emails text[]
UPDATE organizations
SET document = new.document::jsonb,
    state = new.state,
    sequence = new.sequence,
    next_due_at = new.next_due_at,
    created = new.created,
    watches_activity = new.watches_activity,
    withheld = new.withheld,
    owner_email = new.owner_email,
    locked_email = new.locked_email
FROM unnest(
    $1::text[], $2::text[], $3::timestamptz[], $4::text[], $5::bigint[], $6::boolean[],
    $7::boolean[], $8::boolean[], $9::text[], $10::text[]
) AS new (
    organization_id, document, next_due_at, state, sequence, created, watches_activity, withheld,
    owner_email, locked_email
)
WHERE organizations.organization_id = new.organization_id;

-- name: watching
-- Those among $1 that may change at once when a login or an API request arrives.
-- $1 organization_ids text[]
SELECT organization_id
FROM organizations
WHERE watches_activity AND organization_id = ANY($1::text[]);

-- name: erased
-- By the partial index organizations_erased.
-- $1 organization_ids text[]
SELECT organization_id
FROM organizations
WHERE document ->> 'erased_at' IS NOT NULL AND organization_id = ANY($1::text[]);

-- name: meeting
-- The organizations with a part in the emails of a batch: those whose deactivation locked one of
-- them, and those with the same owner as an organization that is to be reactivated, whether that
-- owner is stored or named by the batch.
-- $1 locked_emails text[].  $2 reactivated_ids text[].  $3 owner_emails text[]
SELECT organization_id
FROM organizations
WHERE locked_email = ANY($1::text[])
UNION
SELECT theirs.organization_id
FROM organizations AS reactivated
JOIN organizations AS theirs ON theirs.owner_email = reactivated.owner_email
WHERE reactivated.organization_id = ANY($2::text[])
UNION
SELECT organization_id
FROM organizations
WHERE owner_email = ANY($3::text[]);

-- name: population
-- The number of organizations from which the guard's limit is computed.
SELECT count(*) FROM organizations WHERE created AND state <> 'deactivated';

-- name: lock_withheld
SELECT organization_id FROM organizations WHERE withheld ORDER BY organization_id FOR UPDATE;

-- name: wake_withheld
-- Makes organizations with a withheld step due now.
-- $1 now timestamptz
UPDATE organizations SET next_due_at = $1 WHERE withheld;

-- name: page
-- $1 after_id text.  $2 limit bigint
SELECT organization_id
FROM organizations
WHERE created AND organization_id > $1
ORDER BY organization_id
LIMIT $2;

-- name: every_known
-- $1 after_id text.  $2 limit bigint
SELECT organization_id
FROM organizations
WHERE organization_id > $1
ORDER BY organization_id
LIMIT $2;

-- name: columns
-- The columns besides the document.
-- $1 organization_ids text[]
SELECT organization_id, state, sequence, created, watches_activity, withheld, owner_email,
       locked_email, next_due_at
FROM organizations
WHERE organization_id = ANY($1::text[]);

-- name: due_until
-- The organizations that become due by then, and those with a withheld step.
-- $1 until timestamptz.  $2 after_id text.  $3 limit bigint
SELECT organization_id
FROM organizations
WHERE (next_due_at <= $1 OR withheld) AND organization_id > $2
ORDER BY organization_id
LIMIT $3;

-- name: overdue
-- How many organizations were due before $1, counted up to $2, and since when the first; by the
-- index organizations_due.
-- $1 before timestamptz.  $2 limit bigint
SELECT count(*) AS organizations, min(next_due_at) AS since
FROM (
    SELECT next_due_at FROM organizations WHERE next_due_at < $1 ORDER BY next_due_at LIMIT $2
) AS due;

-- name: due_by_day
-- How many organizations on their way down, or with a notice of inactivity, are due on each UTC day
-- up to $1, by state and marketplace; null: none, `several`: more than one.  By the index
-- organizations_calendar, at most the first $2 of them.
-- $1 until timestamptz.  $2 limit bigint
SELECT (next_due_at AT TIME ZONE 'UTC')::date AS day, state, marketplace, count(*) AS organizations
FROM (
    SELECT organization_id, next_due_at, state
    FROM organizations
    WHERE watches_activity AND next_due_at <= $1
    ORDER BY next_due_at
    LIMIT $2
) AS due
CROSS JOIN LATERAL (
    SELECT CASE WHEN count(DISTINCT marketplace) > 1 THEN 'several' ELSE min(marketplace) END
               AS marketplace
    FROM links
    WHERE links.organization_id = due.organization_id
) AS bought
GROUP BY day, state, marketplace
ORDER BY day;

-- name: decided_from
-- The organizations with a decision or a due time at $1 or later.  Reads all rows, page by page;
-- only for a rare command of operators.
-- $1 since timestamptz.  $2 after_id text.  $3 limit bigint
SELECT organization_id, document
FROM organizations
WHERE organization_id > $2
  AND (
      next_due_at >= $1
      OR greatest(
          (document ->> 'decided_at')::timestamptz,
          (document ->> 'entered_at')::timestamptz,
          (document ->> 'dwells_from')::timestamptz,
          (document ->> 'withheld_at')::timestamptz,
          (document ->> 'postponed_until')::timestamptz
      ) >= $1
  )
ORDER BY organization_id
LIMIT $3;

-- name: recheck_now
-- Makes due now those that are due at $2 or later; in the order of the key.
-- $1 organization_ids text[].  $2 since timestamptz.  $3 now timestamptz
WITH late AS (
    SELECT organization_id FROM organizations
    WHERE organization_id = ANY($1::text[]) AND next_due_at >= $2
    ORDER BY organization_id
    FOR UPDATE
)
UPDATE organizations SET next_due_at = $3 FROM late
WHERE organizations.organization_id = late.organization_id;

-- name: postpone
-- Only if it is still due: another worker may have decided on it meanwhile.
-- $1 organization_id text.  $2 now timestamptz.  $3 next_due_at timestamptz
UPDATE organizations
SET next_due_at = $3
WHERE organization_id = $1 AND next_due_at <= $2;
