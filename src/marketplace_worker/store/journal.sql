-- The journal: every fact once, with what became of it.  Rows are only ever added.

-- name: known
-- Which of these messages were taken before; asked under the locks of their subjects, so that no
-- other worker can be taking the same.
-- $1 sources text[].  $2 message_ids text[]
SELECT source, message_id
FROM journal
JOIN unnest($1::text[], $2::text[]) AS asked (source, message_id) USING (source, message_id);

-- name: append
-- $1 sources text[].  $2 message_ids text[].  $3 kinds text[].  $4 organization_ids text[].
-- $5 marketplaces text[].  $6 subscription_ids text[].  $7 occurred_at timestamptz[].
-- $8 outcomes text[].  $9 positions text[].  $10 facts text[].  $11 decided_at timestamptz.
-- $12 policy_version text
INSERT INTO journal (
    source, message_id, kind, organization_id, marketplace, subscription_id, occurred_at,
    outcome, position, fact, decided_at, policy_version
)
SELECT
    source, message_id, kind, organization_id, marketplace, subscription_id, occurred_at,
    outcome, position, fact::jsonb, $11, $12
FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[],
    $8::text[], $9::text[], $10::text[]
) AS new (
    source, message_id, kind, organization_id, marketplace, subscription_id, occurred_at,
    outcome, position, fact
);
