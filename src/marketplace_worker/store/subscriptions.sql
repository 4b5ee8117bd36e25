-- The registers of the marketplaces' subscriptions, and which organizations they were linked to.
-- Locks are taken by (marketplace, subscription_id), before those of the organizations.

-- name: ensure
-- A row for each, so that there is one to lock: also for a predecessor not yet heard of, so that
-- a link to it and the news of its successor meet at the same row.
-- $1 marketplaces text[].  $2 subscription_ids text[], both sorted by key.  $3 documents text[]
INSERT INTO subscriptions (marketplace, subscription_id, document)
SELECT marketplace, subscription_id, document::jsonb
FROM unnest($1::text[], $2::text[], $3::text[]) AS new (marketplace, subscription_id, document)
ON CONFLICT (marketplace, subscription_id) DO NOTHING;

-- name: family
-- Those subscriptions with all that they continue and all that continues them.
-- $1 marketplaces text[].  $2 subscription_ids text[]
WITH RECURSIVE family (marketplace, subscription_id) AS (
    SELECT * FROM unnest($1::text[], $2::text[])
    UNION
    SELECT kin.marketplace, kin.subscription_id
    FROM family
    CROSS JOIN LATERAL (
        SELECT heir.marketplace, heir.subscription_id
        FROM subscriptions AS heir
        WHERE heir.marketplace = family.marketplace
          AND heir.predecessor_id = family.subscription_id
        UNION ALL
        SELECT self.marketplace, self.predecessor_id
        FROM subscriptions AS self
        WHERE self.marketplace = family.marketplace
          AND self.subscription_id = family.subscription_id
          AND self.predecessor_id IS NOT NULL
    ) AS kin
)
SELECT marketplace, subscription_id FROM family;

-- name: lock
-- $1 marketplaces text[].  $2 subscription_ids text[]
SELECT document
FROM subscriptions
JOIN unnest($1::text[], $2::text[]) AS wanted (marketplace, subscription_id)
    USING (marketplace, subscription_id)
ORDER BY marketplace, subscription_id
FOR UPDATE OF subscriptions;

-- name: read
-- Without a lock: whoever changes one that concerns an organization needs the organization's.
-- $1 marketplaces text[].  $2 subscription_ids text[]
SELECT document
FROM subscriptions
JOIN unnest($1::text[], $2::text[]) AS wanted (marketplace, subscription_id)
    USING (marketplace, subscription_id);

-- name: holders
-- The organizations to which any of these was ever linked.
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
-- $1 organization_ids text[].  $2 marketplaces text[].  $3 subscription_ids text[], sorted
INSERT INTO links (organization_id, marketplace, subscription_id)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[])
ON CONFLICT DO NOTHING;
