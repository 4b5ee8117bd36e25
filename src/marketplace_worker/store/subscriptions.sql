-- Subscriptions: their registers, the organizations they were linked to, and their billing
-- accounts.  Rows are locked in the order of (marketplace, subscription_id), before those of
-- organizations.

-- name: ensure
-- Inserts missing rows, so that there is a row to lock.  Also for a predecessor that was never
-- reported, so that a link to it and a notification of its successor lock the same row.  Most are
-- known, and no document is built for these; a row that another transaction inserts meanwhile is a
-- conflict.
-- $1 marketplaces text[].  $2 subscription_ids text[], both sorted by key.
-- $3 document text, of a new one; its key is replaced
INSERT INTO subscriptions (marketplace, subscription_id, document)
SELECT marketplace, subscription_id, jsonb_set(
    $3::text::jsonb,
    '{key}',
    jsonb_build_object('marketplace', marketplace, 'subscription_id', subscription_id)
)
FROM unnest($1::text[], $2::text[])
    WITH ORDINALITY AS new (marketplace, subscription_id, place)
WHERE NOT EXISTS (
    SELECT FROM subscriptions AS known
    WHERE known.marketplace = new.marketplace AND known.subscription_id = new.subscription_id
)
ORDER BY place
ON CONFLICT (marketplace, subscription_id) DO NOTHING;

-- name: lock_accounts
-- Locks the rows of billing accounts until the transaction ends; existing rows are locked, but
-- never changed.  Crowded accounts are skipped: their subscriptions are not decided on together, so
-- notifications about them need not wait for one another.
-- $1 numbers integer[].  $2 marketplaces text[].  $3 billing_accounts text[]
INSERT INTO account_locks (number)
SELECT DISTINCT stated.number
FROM unnest($1::integer[], $2::text[], $3::text[]) AS stated (number, marketplace, billing_account)
WHERE NOT EXISTS (
    SELECT FROM crowded_accounts AS crowded
    WHERE crowded.marketplace = stated.marketplace
      AND crowded.billing_account = stated.billing_account
)
ORDER BY stated.number
ON CONFLICT (number) DO UPDATE SET number = excluded.number WHERE false;

-- name: family
-- The same as lifecycle.families.family; tests/store/test_families.py compares both.  A row is a
-- subscription or an account, so that each account is visited once.  The inner LIMIT makes Postgres
-- check once for each account, not for each of its subscriptions, whether an organization may hold
-- it.
-- $1 marketplaces text[].  $2 subscription_ids text[].  $3 marketplaces text[].
-- $4 billing_accounts text[].  Of what the batch links or reports as successors:
-- $5 marketplaces text[].  $6 subscription_ids text[].  $7 marketplaces text[].
-- $8 billing_accounts text[]
WITH RECURSIVE family (marketplace, subscription_id, billing_account) AS (
    (
        SELECT marketplace, subscription_id, NULL::text
        FROM unnest($1::text[], $2::text[]) AS named (marketplace, subscription_id)
        UNION
        SELECT marketplace, NULL::text, billing_account
        FROM unnest($3::text[], $4::text[]) AS stated (marketplace, billing_account)
    )
    UNION
    SELECT related.marketplace, related.subscription_id, related.billing_account
    FROM family
    CROSS JOIN LATERAL (
        SELECT heir.marketplace, heir.subscription_id, NULL::text
        FROM subscriptions AS heir
        WHERE heir.marketplace = family.marketplace
          AND heir.predecessor_id = family.subscription_id
        UNION ALL
        SELECT self.marketplace, self.predecessor_id, NULL::text
        FROM subscriptions AS self
        WHERE self.marketplace = family.marketplace
          AND self.subscription_id = family.subscription_id
          AND self.predecessor_id IS NOT NULL
        UNION ALL
        SELECT self.marketplace, NULL::text, self.billing_account
        FROM billing_accounts AS self
        WHERE self.marketplace = family.marketplace
          AND self.subscription_id = family.subscription_id
        UNION ALL
        SELECT peer.marketplace, peer.subscription_id, NULL::text
        FROM (
            SELECT
            FROM billing_accounts AS member
            LEFT JOIN LATERAL (
                SELECT true AS linked
                FROM links
                WHERE links.marketplace = member.marketplace
                  AND links.subscription_id = member.subscription_id
                LIMIT 1
            ) AS holder ON true
            LEFT JOIN LATERAL (
                SELECT predecessor_id
                FROM subscriptions AS self
                WHERE self.marketplace = member.marketplace
                  AND self.subscription_id = member.subscription_id
                LIMIT 1
            ) AS self ON true
            WHERE member.marketplace = family.marketplace
              AND member.billing_account = family.billing_account
              AND (
                  linked
                  OR predecessor_id IS NOT NULL
                  OR (member.marketplace, member.subscription_id)
                      IN (SELECT * FROM unnest($5::text[], $6::text[]))
                  OR (member.marketplace, member.billing_account)
                      IN (SELECT * FROM unnest($7::text[], $8::text[]))
              )
              AND NOT EXISTS (
                  SELECT FROM crowded_accounts AS crowded
                  WHERE crowded.marketplace = family.marketplace
                    AND crowded.billing_account = family.billing_account
              )
            LIMIT 1
        ) AS held
        CROSS JOIN billing_accounts AS peer
        WHERE peer.marketplace = family.marketplace
          AND peer.billing_account = family.billing_account
    ) AS related (marketplace, subscription_id, billing_account)
)
SELECT marketplace, subscription_id FROM family WHERE subscription_id IS NOT NULL;

-- name: lock
-- $1 marketplaces text[].  $2 subscription_ids text[]
SELECT document
FROM subscriptions
JOIN unnest($1::text[], $2::text[]) AS wanted (marketplace, subscription_id)
    USING (marketplace, subscription_id)
ORDER BY marketplace, subscription_id
FOR UPDATE OF subscriptions;

-- name: read
-- Without a lock: a transaction that changes a subscription of an organization locks the
-- organization.
-- $1 marketplaces text[].  $2 subscription_ids text[]
SELECT document
FROM subscriptions
JOIN unnest($1::text[], $2::text[]) AS wanted (marketplace, subscription_id)
    USING (marketplace, subscription_id);

-- name: page
-- $1 marketplace text.  $2 subscription_id text, after which.  $3 limit bigint
SELECT marketplace, subscription_id
FROM subscriptions
WHERE (marketplace, subscription_id) > ($1, $2)
ORDER BY marketplace, subscription_id
LIMIT $3;

-- name: links_of
-- $1 marketplaces text[].  $2 subscription_ids text[]
SELECT organization_id, marketplace, subscription_id
FROM links
JOIN unnest($1::text[], $2::text[]) AS wanted (marketplace, subscription_id)
    USING (marketplace, subscription_id);

-- name: holders
-- The organizations to which any of these was ever linked, by a sign-up or a proof.
-- $1 marketplaces text[].  $2 subscription_ids text[]
SELECT DISTINCT organization_id
FROM links
JOIN unnest($1::text[], $2::text[]) AS wanted (marketplace, subscription_id)
    USING (marketplace, subscription_id);

-- name: linked_to
-- $1 organization_ids text[]
SELECT DISTINCT marketplace, subscription_id
FROM links
WHERE organization_id = ANY($1::text[]);

-- name: save
-- The rows are locked by the caller.
-- $1 marketplaces text[].  $2 subscription_ids text[].  $3 predecessor_ids text[].
-- $4 documents text[]
UPDATE subscriptions
SET document = new.document::jsonb,
    predecessor_id = new.predecessor_id
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[])
    AS new (marketplace, subscription_id, predecessor_id, document)
WHERE subscriptions.marketplace = new.marketplace
  AND subscriptions.subscription_id = new.subscription_id;

-- name: link
-- Also for links by a proof (lifecycle.md section 4).
-- $1 organization_ids text[].  $2 marketplaces text[].  $3 subscription_ids text[], sorted
INSERT INTO links (organization_id, marketplace, subscription_id)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[])
ON CONFLICT DO NOTHING;

-- name: save_accounts
-- Rows are never deleted, like entries of registers.  Subscriptions of crowded accounts are not
-- inserted, because no match is searched for there.
-- $1 marketplaces text[].  $2 billing_accounts text[].  $3 subscription_ids text[], sorted
INSERT INTO billing_accounts (marketplace, billing_account, subscription_id)
SELECT marketplace, billing_account, subscription_id
FROM unnest($1::text[], $2::text[], $3::text[])
    AS stated (marketplace, billing_account, subscription_id)
WHERE NOT EXISTS (
    SELECT FROM crowded_accounts AS crowded
    WHERE crowded.marketplace = stated.marketplace
      AND crowded.billing_account = stated.billing_account
)
ON CONFLICT DO NOTHING;

-- name: crowded
-- The ones among these billing accounts that are recorded as crowded.
-- $1 marketplaces text[].  $2 billing_accounts text[]
SELECT asked.marketplace, asked.billing_account
FROM unnest($1::text[], $2::text[]) AS asked (marketplace, billing_account)
CROSS JOIN LATERAL (
    SELECT FROM crowded_accounts AS known
    WHERE known.marketplace = asked.marketplace
      AND known.billing_account = asked.billing_account
    LIMIT 1  -- one lookup by the key for each account, however many rows there are
) AS crowded;

-- name: record_crowded
-- Returns the newly recorded ones.
-- $1 marketplaces text[].  $2 billing_accounts text[], sorted
INSERT INTO crowded_accounts (marketplace, billing_account)
SELECT * FROM unnest($1::text[], $2::text[])
ON CONFLICT DO NOTHING
RETURNING marketplace, billing_account;
