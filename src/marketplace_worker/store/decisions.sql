-- The outcome of each fact for each organization.  Rows are only inserted, never updated.

-- name: canceled_since
-- The cancellations of all organizations after $1 and up to $2; an index-only scan of
-- decisions_of_cancellations.
-- $1 since timestamptz.  $2 until timestamptz
SELECT count(*)
FROM decisions
WHERE state = 'canceled' AND state_before = 'active' AND decided_at > $1
  AND decided_at <= $2;
