-- How many organizations are in each state: on each UTC day, by how many they became more or fewer.
-- Transactions append what they changed, so none waits for another's row; the rows of a day and
-- state are merged later.  Their sum up to a day is the number on that day.
CREATE TABLE state_changes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    day date NOT NULL,
    state text NOT NULL
        CHECK (state IN ('active', 'canceled', 'control_plane_loss', 'suspended', 'deactivated')),
    change bigint NOT NULL
);

-- The days on which the numbers were compared with the organizations themselves.
CREATE TABLE state_corrections (day date PRIMARY KEY);

-- Serves `by_state`, and `population` instead of the index before it.
CREATE INDEX organizations_by_state ON organizations (state, organization_id) WHERE created;
DROP INDEX organizations_in_the_fleet;

-- What the history knows: entries into states, and the creations.
CREATE TEMPORARY TABLE known ON COMMIT DROP AS
SELECT day, state, sum(change)::bigint AS change
FROM (
    SELECT (decided_at AT TIME ZONE 'UTC')::date AS day, state, 1 AS change
    FROM decisions WHERE state IS DISTINCT FROM state_before AND state IS NOT NULL
    UNION ALL
    SELECT (decided_at AT TIME ZONE 'UTC')::date, state_before, -1
    FROM decisions WHERE state IS DISTINCT FROM state_before AND state_before IS NOT NULL
    UNION ALL
    SELECT (min(decided_at) AT TIME ZONE 'UTC')::date, 'active', 1
    FROM journal WHERE kind = 'organization.created' AND organization_id IS NOT NULL
    GROUP BY organization_id
) AS each_one
GROUP BY day, state;

-- What was before: retention has deleted it, so it stands at the beginning.
INSERT INTO known
SELECT
    coalesce((SELECT min(day) FROM known), (now() AT TIME ZONE 'UTC')::date), state,
    coalesce(counted.organizations, 0) - coalesce(summed.change, 0)
FROM (
    SELECT state, count(*) AS organizations FROM organizations WHERE created GROUP BY state
) AS counted
FULL JOIN (SELECT state, sum(change) AS change FROM known GROUP BY state) AS summed USING (state);

INSERT INTO state_changes (day, state, change)
SELECT day, state, sum(change) FROM known GROUP BY day, state HAVING sum(change) <> 0
ORDER BY day, state;

GRANT SELECT, INSERT, UPDATE, DELETE ON state_changes, state_corrections TO marketplace_worker_app;
