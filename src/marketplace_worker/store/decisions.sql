-- The outcome of each fact for each organization.  Rows are only inserted, never updated.

-- name: append
-- Inserts rows in the given order.
-- $1 sources text[].  $2 message_ids text[].  $3 organization_ids text[].  $4 states_before text[].
-- $5 states text[].  $6 policy_versions text[].  $7 events text[].  $8 decided_at timestamptz
INSERT INTO decisions (
    source, message_id, organization_id, state_before, state, policy_version, events, decided_at
)
SELECT
    source, message_id, organization_id, state_before, state, policy_version, events::jsonb, $8
FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[]
) WITH ORDINALITY AS new (
    source, message_id, organization_id, state_before, state, policy_version, events, place
)
ORDER BY place;

-- name: canceled_since
-- The cancellations of all organizations after $1 and up to $2; an index-only scan of
-- decisions_of_cancellations.
-- $1 since timestamptz.  $2 until timestamptz
SELECT count(*)
FROM decisions
WHERE state = 'canceled' AND state_before = 'active' AND decided_at > $1
  AND decided_at <= $2;
