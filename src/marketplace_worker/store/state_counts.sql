-- How many organizations are in each state, as changes by UTC day; their sum is the number.
-- Rows are appended by the transactions that change states, and merged by one worker at a time.

-- name: append
-- $1 day date.  $2 states text[].  $3 changes bigint[]
INSERT INTO state_changes (day, state, change)
SELECT $1::date, state, change FROM unnest($2::text[], $3::bigint[]) AS new (state, change);

-- name: lead
-- (An arbitrary number.)
SELECT pg_try_advisory_xact_lock(7301900017);

-- name: unmerged
-- How many rows there are beside the first of each day and state, counted up to $1.
-- $1 limit bigint
SELECT count(*) - count(DISTINCT (day, state))
FROM (SELECT day, state FROM state_changes ORDER BY id DESC LIMIT $1) AS newest;

-- name: merge
-- Replaces the rows of each day and state by one; a transaction whose rows are not committed yet is
-- left for the next time.
WITH merged AS (
    DELETE FROM state_changes
    WHERE (day, state) IN (
        SELECT day, state FROM state_changes GROUP BY day, state HAVING count(*) > 1
    )
    RETURNING day, state, change
)
INSERT INTO state_changes (day, state, change)
SELECT day, state, sum(change)
FROM merged
GROUP BY day, state
HAVING sum(change) <> 0
ORDER BY day, state;

-- name: is_corrected
-- $1 day date
SELECT EXISTS (SELECT FROM state_corrections WHERE day = $1);

-- name: correct
-- Compares the numbers with the organizations; one snapshot of both, which each transaction changes
-- together.  Counts by organizations_by_state.
-- $1 day date
WITH wrong AS (
    SELECT state, coalesce(counted.organizations, 0) - coalesce(summed.change, 0) AS change
    FROM (
        SELECT state, count(*) AS organizations FROM organizations WHERE created GROUP BY state
    ) AS counted
    FULL JOIN (
        SELECT state, sum(change) AS change FROM state_changes GROUP BY state
    ) AS summed USING (state)
), corrected AS (
    INSERT INTO state_changes (day, state, change)
    SELECT $1::date, state, change FROM wrong WHERE change <> 0
)
SELECT state, change FROM wrong WHERE change <> 0 ORDER BY state;

-- name: record_correction
-- $1 day date
WITH earlier AS (DELETE FROM state_corrections WHERE day <> $1::date)
INSERT INTO state_corrections (day) VALUES ($1::date) ON CONFLICT (day) DO NOTHING;

-- name: numbers
-- How many organizations are in each state now.  Reads a few rows a day.
SELECT state, sum(change)::bigint AS organizations FROM state_changes GROUP BY state;

-- name: history
-- All days, the oldest first.
SELECT day, state, sum(change)::bigint AS change
FROM state_changes
GROUP BY day, state
ORDER BY day, state;
