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

-- name: history
-- What happened to an organization: the facts that name it or one of its subscriptions, and those
-- that made anything of it; each with what it made of it, if anything.
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
            SELECT told.id FROM journal AS told
            WHERE told.marketplace = plan.marketplace
              AND told.subscription_id = plan.subscription_id
              AND told.id > $4
            ORDER BY told.id LIMIT $5
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
    journal.policy_version, decisions.state_before, decisions.state,
    decisions.policy_version AS decided_by, decisions.readings, decisions.events
FROM (SELECT id FROM concerning ORDER BY id LIMIT $5) AS page
JOIN journal USING (id)
LEFT JOIN decisions
    ON decisions.source = journal.source
   AND decisions.message_id = journal.message_id
   AND decisions.organization_id = $1
ORDER BY journal.id;
