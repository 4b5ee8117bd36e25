-- Lists of organizations: for each filter the ids in their order, page by page by an index, and a
-- row for each of some ids.

-- name: in_state
-- $1 state text.  $2 after_id text.  $3 limit bigint
SELECT organization_id
FROM organizations
WHERE created AND state = $1 AND organization_id > $2
ORDER BY organization_id
LIMIT $3;

-- name: of_marketplace
-- Those to which a subscription of the marketplace was ever linked.
-- $1 marketplace text.  $2 after_id text.  $3 limit bigint
SELECT DISTINCT organization_id
FROM links
WHERE marketplace = $1 AND organization_id > $2
ORDER BY organization_id
LIMIT $3;

-- name: held
-- $1 after_id text.  $2 limit bigint
SELECT organization_id
FROM organizations
WHERE document #> '{holds,0}' IS NOT NULL AND organization_id > $1
ORDER BY organization_id
LIMIT $2;

-- name: waiting
-- $1 waits_for text.  $2 after_id text.  $3 limit bigint
SELECT organization_id
FROM organizations
WHERE waits_for(document) = $1 AND organization_id > $2
ORDER BY organization_id
LIMIT $3;

-- name: due
-- Those on their way down, or with a notice of inactivity, in the order in which they are due.
-- $1 until timestamptz.  $2 after timestamptz.  $3 after_id text.  $4 limit bigint
SELECT organization_id, next_due_at
FROM organizations
WHERE watches_activity
  AND next_due_at <= $1
  AND next_due_at >= $2
  AND (next_due_at, organization_id) > ($2, $3)
ORDER BY next_due_at, organization_id
LIMIT $4;

-- name: of_subscription
-- Those to which the subscription, or one that it continues, was ever linked.
-- $1 marketplaces text[].  $2 subscription_id text
WITH RECURSIVE chain (marketplace, subscription_id) AS (
    SELECT marketplace, $2::text FROM unnest($1::text[]) AS named (marketplace)
    UNION
    SELECT self.marketplace, self.predecessor_id
    FROM chain
    JOIN subscriptions AS self USING (marketplace, subscription_id)
    WHERE self.predecessor_id IS NOT NULL
)
SELECT DISTINCT organization_id FROM links JOIN chain USING (marketplace, subscription_id);

-- name: of_account
-- The same of all subscriptions of a billing account; of a crowded one, of those that it had before.
-- $1 marketplaces text[].  $2 billing_account text
WITH RECURSIVE chain (marketplace, subscription_id) AS (
    SELECT marketplace, subscription_id
    FROM billing_accounts
    WHERE marketplace = ANY($1::text[]) AND billing_account = $2
    UNION
    SELECT self.marketplace, self.predecessor_id
    FROM chain
    JOIN subscriptions AS self USING (marketplace, subscription_id)
    WHERE self.predecessor_id IS NOT NULL
)
SELECT DISTINCT organization_id FROM links JOIN chain USING (marketplace, subscription_id);

-- name: of_email
-- Those whose owner has the email, and those whose deactivation locked it.
-- $1 email text
SELECT organization_id FROM organizations WHERE owner_email = $1
UNION
SELECT organization_id FROM organizations WHERE locked_email = $1;

-- name: in_order
-- $1 organization_ids text[].  $2 after_id text.  $3 limit bigint
SELECT organization_id
FROM unnest($1::text[]) AS named (organization_id)
WHERE organization_id > $2
ORDER BY organization_id
LIMIT $3;

-- name: passing
-- The created ones of $1 that pass the filters; a null filter passes all.
-- $1 organization_ids text[].  $2 state text.  $3 marketplace text.  $4 held boolean.
-- $5 waits_for text.  $6 due_until timestamptz
SELECT organization_id
FROM organizations
WHERE organization_id = ANY($1::text[])
  AND created
  AND ($2::text IS NULL OR state = $2)
  AND (
      $3::text IS NULL
      OR EXISTS (
          SELECT FROM links
          WHERE links.organization_id = organizations.organization_id AND marketplace = $3
      )
  )
  AND (NOT $4::boolean OR document #> '{holds,0}' IS NOT NULL)
  AND ($5::text IS NULL OR waits_for(document) = $5)
  AND ($6::timestamptz IS NULL OR (watches_activity AND next_due_at <= $6));

-- name: rows
-- $1 organization_ids text[]
SELECT
    organization_id, document, waits_for(document) AS waits_for,
    CASE WHEN watches_activity THEN next_due_at END AS due_at,
    ARRAY(
        SELECT DISTINCT marketplace FROM links
        WHERE links.organization_id = organizations.organization_id
        ORDER BY marketplace
    ) AS marketplaces
FROM organizations
WHERE organization_id = ANY($1::text[]);
