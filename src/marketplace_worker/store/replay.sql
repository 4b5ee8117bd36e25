-- Reads the journal of a replay group, and the checkpoints from which its replay starts.

-- name: group
-- The same as lifecycle.families.replay_group; tests/store/test_families.py compares both.  Each
-- step uses an index.
-- $1 organization_ids text[].  $2 marketplaces text[].  $3 subscription_ids text[]
WITH RECURSIVE replay_group (what, marketplace, id) AS (
    (
        SELECT 'organization', '', id FROM unnest($1::text[]) AS asked (id)
        UNION
        SELECT 'subscription', marketplace, id
        FROM unnest($2::text[], $3::text[]) AS asked (marketplace, id)
    )
    UNION
    SELECT neighbour.what, neighbour.marketplace, neighbour.id
    FROM replay_group
    CROSS JOIN LATERAL (
        SELECT 'subscription', links.marketplace, links.subscription_id
        FROM links
        WHERE replay_group.what = 'organization' AND links.organization_id = replay_group.id
        UNION ALL
        SELECT 'organization', '', links.organization_id
        FROM links
        WHERE replay_group.what = 'subscription'
          AND links.marketplace = replay_group.marketplace AND links.subscription_id = replay_group.id
        UNION ALL
        -- Also an organization whose link has no effect, because it was erased before the link
        -- came.
        SELECT 'organization', '', entry.organization_id
        FROM journal AS entry
        WHERE replay_group.what = 'subscription'
          AND entry.marketplace = replay_group.marketplace
          AND marketplace_id(entry.subscription_id) = replay_group.id
          AND entry.subscription_id IS NOT NULL AND entry.organization_id IS NOT NULL
        UNION ALL
        SELECT 'subscription', heir.marketplace, heir.subscription_id
        FROM subscriptions AS heir
        WHERE replay_group.what = 'subscription'
          AND heir.marketplace = replay_group.marketplace AND heir.predecessor_id = replay_group.id
        UNION ALL
        SELECT 'subscription', self.marketplace, self.predecessor_id
        FROM subscriptions AS self
        WHERE replay_group.what = 'subscription'
          AND self.marketplace = replay_group.marketplace AND self.subscription_id = replay_group.id
          AND self.predecessor_id IS NOT NULL
        UNION ALL
        SELECT 'account', self.marketplace, self.billing_account
        FROM billing_accounts AS self
        WHERE replay_group.what = 'subscription'
          AND self.marketplace = replay_group.marketplace AND self.subscription_id = replay_group.id
        UNION ALL
        SELECT 'subscription', peer.marketplace, peer.subscription_id
        FROM billing_accounts AS peer
        WHERE replay_group.what = 'account'
          AND peer.marketplace = replay_group.marketplace AND peer.billing_account = replay_group.id
        UNION ALL
        SELECT 'email', '', entry.fact ->> 'owner'
        FROM journal AS entry
        WHERE replay_group.what = 'organization' AND entry.organization_id = replay_group.id
          AND entry.kind IN ('organization.created', 'organization.owner_changed')
          AND entry.fact IS NOT NULL
        UNION ALL
        SELECT 'email', '', self.owner_email
        FROM organizations AS self
        WHERE replay_group.what = 'organization' AND self.organization_id = replay_group.id
          AND self.owner_email IS NOT NULL
        UNION ALL
        SELECT 'organization', '', entry.organization_id
        FROM journal AS entry
        WHERE replay_group.what = 'email' AND entry.fact ->> 'owner' = replay_group.id
          AND entry.kind IN ('organization.created', 'organization.owner_changed')
        UNION ALL
        SELECT 'organization', '', theirs.organization_id
        FROM organizations AS theirs
        WHERE replay_group.what = 'email' AND theirs.owner_email = replay_group.id
        UNION ALL
        SELECT 'organization', '', others.organization_id
        FROM decisions AS own
        JOIN decisions AS others USING (source, message_id)
        WHERE replay_group.what = 'organization' AND own.organization_id = replay_group.id
          AND others.organization_id <> 'worker'
        UNION ALL
        SELECT
            CASE WHEN entry.organization_id IS NULL THEN 'subscription' ELSE 'organization' END,
            CASE WHEN entry.organization_id IS NULL THEN entry.marketplace ELSE '' END,
            coalesce(entry.organization_id, marketplace_id(entry.subscription_id))
        FROM decisions AS own
        JOIN journal AS entry USING (source, message_id)
        WHERE replay_group.what = 'organization' AND own.organization_id = replay_group.id
          AND coalesce(entry.organization_id, entry.subscription_id) IS NOT NULL
    ) AS neighbour (what, marketplace, id)
)
SELECT what, marketplace, id FROM replay_group WHERE what IN ('organization', 'subscription');

-- name: checkpoints
-- $1 marketplaces text[], empty for an organization.  $2 ids text[]
SELECT marketplace, id, journal_id, decided_at, document, head
FROM checkpoints
JOIN unnest($1::text[], $2::text[]) AS wanted (marketplace, id) USING (marketplace, id);

-- name: rows
-- The rows that name any of these organizations or subscriptions (in any spelling) or led to a
-- decision on one of these organizations; in order of id.
-- $1 organization_ids text[].  $2 marketplaces text[].  $3 subscription_ids text[].
-- $4 limit bigint
SELECT
    id, source, message_id, kind, organization_id, marketplace, subscription_id, occurred_at,
    decided_at, policy_version, outcome, position, readings, fact, salt, content_hash,
    previous_hash, hash
FROM journal
WHERE id IN (
    SELECT id FROM journal WHERE organization_id = ANY($1::text[])
    UNION
    SELECT entry.id
    FROM unnest($2::text[], $3::text[]) AS plan (marketplace, subscription_id)
    JOIN journal AS entry
        ON entry.marketplace = plan.marketplace
       AND marketplace_id(entry.subscription_id) = plan.subscription_id
       AND entry.subscription_id IS NOT NULL
    UNION
    SELECT entry.id
    FROM decisions AS own
    JOIN journal AS entry USING (source, message_id)
    WHERE own.organization_id = ANY($1::text[])
)
ORDER BY id
LIMIT $4;

-- name: decided
-- The recorded decisions on these organizations.
-- $1 organization_ids text[]
SELECT source, message_id, organization_id, state_before, state, events
FROM decisions
WHERE organization_id = ANY($1::text[])
ORDER BY id;

-- name: alone
-- Rows that name neither an organization nor a subscription, page by page.
-- $1 after_id bigint.  $2 limit bigint
SELECT
    id, source, message_id, kind, organization_id, marketplace, subscription_id, occurred_at,
    decided_at, policy_version, outcome, position, readings, fact, salt, content_hash,
    previous_hash, hash
FROM journal
WHERE organization_id IS NULL AND subscription_id IS NULL AND id > $1
ORDER BY id
LIMIT $2;

-- name: oldest
-- The oldest rows, for retention.
-- $1 before timestamptz.  $2 limit bigint
SELECT id, organization_id, marketplace, subscription_id
FROM journal
WHERE decided_at < $1
ORDER BY decided_at, id
LIMIT $2;

-- name: save_checkpoints
-- A checkpoint that already covers later rows is not moved back.
-- $1 marketplaces text[].  $2 ids text[].  $3 documents text[].  $4 heads bytea[].
-- $5 journal_id bigint.  $6 decided_at timestamptz
INSERT INTO checkpoints (marketplace, id, document, head, journal_id, decided_at)
SELECT marketplace, id, document::json, head, $5, $6
FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[]) AS new (marketplace, id, document, head)
ON CONFLICT (marketplace, id) DO UPDATE
SET document = excluded.document,
    head = CASE
        WHEN checkpoints.journal_id > excluded.journal_id THEN checkpoints.head ELSE excluded.head
    END,
    journal_id = greatest(checkpoints.journal_id, excluded.journal_id),
    decided_at = greatest(checkpoints.decided_at, excluded.decided_at);

-- name: retire
-- $1 ids bigint[] of rows that are folded into checkpoints or have no subject
SELECT retire_journal($1::bigint[]);

-- name: erase
-- $1 organization_id text
SELECT erase_journal($1);

-- name: last_row
SELECT coalesce(max(id), 0) FROM journal;

-- name: rows_about
-- The estimate of the last ANALYZE; counting would read the whole table.
SELECT reltuples::bigint FROM pg_class WHERE oid = 'journal'::regclass;

-- name: own
-- The subscriptions that were never linked to another organization.
-- $1 organization_id text
SELECT marketplace, subscription_id
FROM links AS own
WHERE organization_id = $1
  AND NOT EXISTS (
      SELECT FROM links AS others
      WHERE others.marketplace = own.marketplace
        AND others.subscription_id = own.subscription_id
        AND others.organization_id <> own.organization_id
  );

-- name: forget_beside
-- Deletes what is stored about an organization and its own subscriptions besides their documents,
-- and its dead letters.  (Dead letters are found by the key: others cannot be attributed.)
-- $1 organization_id text.  $2 keys bytea[]: as text, and as a JSON string.  $3 marketplaces text[].  $4 subscription_ids text[]
WITH seen AS (
    DELETE FROM activity WHERE organization_id = $1
),
signed_in AS (
    DELETE FROM login_days WHERE organization_id = $1
),
possibly_used AS (
    DELETE FROM possible_use WHERE organization_id = $1
),
unread AS (
    DELETE FROM dead_letters WHERE key = ANY($2::bytea[])
)
DELETE FROM billing_accounts
USING unnest($3::text[], $4::text[]) AS own (marketplace, subscription_id)
WHERE billing_accounts.marketplace = own.marketplace
  AND billing_accounts.subscription_id = own.subscription_id;

-- name: lead
-- One worker at a time, until its transaction ends.  (The first number identifies this use of
-- advisory locks.)
SELECT pg_try_advisory_xact_lock(73021, 0);
