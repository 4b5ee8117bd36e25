-- The journal: every fact once, with its outcome and its reading.  Rows are only inserted, each
-- chained to the one before it (chain.py); migrations/0003_recovery.sql has the exceptions.

-- name: known
-- The messages that were processed before.  The caller has locked their subjects, so no other
-- worker is processing the same messages.
-- $1 sources text[].  $2 message_ids text[]
SELECT source, message_id
FROM journal
JOIN unnest($1::text[], $2::text[]) AS asked (source, message_id) USING (source, message_id);

-- name: facts
-- The stored facts of these messages, to compare them with later messages of the same identity.
-- $1 sources text[].  $2 message_ids text[]
SELECT source, message_id, fact
FROM journal
JOIN unnest($1::text[], $2::text[]) AS asked (source, message_id) USING (source, message_id)
WHERE fact IS NOT NULL;

-- name: heads
-- The newest hash of each chain: of organizations, and of subscriptions' rows that name no
-- organization.  The caller has locked both, so no other transaction can extend them.  Rows from
-- before migration 0008 with another spelling of an id form their own chain, which is not
-- continued.
-- $1 organization_ids text[].  $2 marketplaces text[].  $3 subscription_ids text[]
SELECT '' AS marketplace, organization_id AS id, coalesce(
    (
        SELECT hash FROM journal
        WHERE journal.organization_id = chain.organization_id AND hash IS NOT NULL
        ORDER BY journal.id DESC LIMIT 1
    ),
    (SELECT head FROM checkpoints WHERE marketplace = '' AND id = chain.organization_id)
) AS hash
FROM unnest($1::text[]) AS chain (organization_id)
UNION ALL
SELECT marketplace, subscription_id, coalesce(
    (
        SELECT hash FROM journal
        WHERE journal.marketplace = chain.marketplace
          AND marketplace_id(journal.subscription_id) = chain.subscription_id
          AND journal.subscription_id = chain.subscription_id
          AND organization_id IS NULL AND hash IS NOT NULL
        ORDER BY journal.id DESC LIMIT 1
    ),
    (
        SELECT head FROM checkpoints
        WHERE checkpoints.marketplace = chain.marketplace AND id = chain.subscription_id
    )
)
FROM unnest($2::text[], $3::text[]) AS chain (marketplace, subscription_id);

-- name: holds_ended
-- Holds placed by Support that expire after a moment and are not in force, though nobody released
-- or replaced them.  Reads the whole journal; only for a rare command of operators.
-- $1 after timestamptz
SELECT
    placed.organization_id, placed.fact ->> 'hold' AS hold,
    (placed.fact ->> 'expires_at')::timestamptz AS expires_at
FROM journal AS placed
JOIN organizations USING (organization_id)
WHERE placed.kind = 'support_requested' AND placed.outcome = 'applied'
  AND placed.fact ->> 'request' = 'place_hold'
  AND (placed.fact ->> 'expires_at')::timestamptz > $1
  AND organizations.state <> 'deactivated'
  AND NOT EXISTS (
      SELECT FROM jsonb_array_elements(organizations.document -> 'holds') AS hold
      WHERE hold ->> 'kind' = placed.fact ->> 'hold'
  )
  AND NOT EXISTS (
      SELECT FROM journal AS later
      WHERE later.organization_id = placed.organization_id AND later.id > placed.id
        AND later.outcome = 'applied'
        AND later.fact ->> 'request' IN ('place_hold', 'release_hold')
        AND later.fact ->> 'hold' = placed.fact ->> 'hold'
  )
ORDER BY placed.organization_id, expires_at;

-- name: history
-- The history of an organization: the facts that name it or one of its subscriptions or that led to
-- a decision on it; each with the decision, if any.
-- $1 organization_id text.  $2 marketplaces text[].  $3 subscription_ids text[].
-- $4 after_id bigint.  $5 limit bigint
WITH concerning (id) AS (
    (
        SELECT id FROM journal
        WHERE organization_id = $1 AND id > $4
        ORDER BY id LIMIT $5
    )
    UNION
    (
        SELECT journal.id FROM unnest($2::text[], $3::text[]) AS plan (marketplace, subscription_id)
        CROSS JOIN LATERAL (
            SELECT entry.id FROM journal AS entry
            WHERE entry.marketplace = plan.marketplace
              AND marketplace_id(entry.subscription_id) = plan.subscription_id
              AND entry.subscription_id IS NOT NULL
              AND entry.id > $4
            ORDER BY entry.id LIMIT $5
        ) AS journal
    )
    UNION
    (
        SELECT journal.id FROM decisions JOIN journal USING (source, message_id)
        WHERE decisions.organization_id = $1 AND journal.id > $4
        ORDER BY journal.id LIMIT $5
    )
)
SELECT
    journal.id, journal.fact, journal.outcome, journal.position, journal.decided_at,
    journal.policy_version, journal.kind, journal.source, journal.message_id, journal.occurred_at,
    journal.readings, decisions.state_before, decisions.state,
    decisions.policy_version AS decided_by, decisions.events
FROM (SELECT id FROM concerning ORDER BY id LIMIT $5) AS page
JOIN journal USING (id)
LEFT JOIN decisions
    ON decisions.source = journal.source
   AND decisions.message_id = journal.message_id
   AND decisions.organization_id = $1
ORDER BY journal.id;

-- name: newest_of_history
-- The newest facts of the same history before a row: the first id, and their number.
-- $1 organization_id text.  $2 marketplaces text[].  $3 subscription_ids text[].
-- $4 before_id bigint.  $5 limit bigint
WITH concerning (id) AS (
    (
        SELECT id FROM journal
        WHERE organization_id = $1 AND id < $4
        ORDER BY id DESC LIMIT $5
    )
    UNION
    (
        SELECT journal.id FROM unnest($2::text[], $3::text[]) AS plan (marketplace, subscription_id)
        CROSS JOIN LATERAL (
            SELECT told.id FROM journal AS told
            WHERE told.marketplace = plan.marketplace
              AND marketplace_id(told.subscription_id) = plan.subscription_id
              AND told.subscription_id IS NOT NULL
              AND told.id < $4
            ORDER BY told.id DESC LIMIT $5
        ) AS journal
    )
    UNION
    (
        SELECT journal.id FROM decisions JOIN journal USING (source, message_id)
        WHERE decisions.organization_id = $1 AND journal.id < $4
        ORDER BY journal.id DESC LIMIT $5
    )
)
SELECT min(id) AS first_id, count(*) AS facts
FROM (SELECT id FROM concerning ORDER BY id DESC LIMIT $5) AS page;

-- name: decided
-- The newest decisions on an organization, in their order; with their facts, as `history`.
-- $1 organization_id text.  $2 limit bigint
SELECT
    journal.id, journal.fact, journal.outcome, journal.position, journal.decided_at,
    journal.policy_version, journal.kind, journal.source, journal.message_id, journal.occurred_at,
    journal.readings, newest.state_before, newest.state,
    newest.policy_version AS decided_by, newest.events
FROM (
    SELECT * FROM decisions WHERE organization_id = $1 ORDER BY id DESC LIMIT $2
) AS newest
JOIN journal USING (source, message_id)
ORDER BY newest.id;
