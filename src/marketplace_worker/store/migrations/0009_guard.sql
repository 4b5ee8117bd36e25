-- Requested deactivations have a guard of their own, and cancellations are counted.

-- Which event said that the guard is tripped: a second trip is added to that one.
UPDATE safeguards
SET document = jsonb_set(document, '{trip,event}', to_jsonb(said.id))
FROM (
    SELECT event ->> 'id' AS id
    FROM decisions
    CROSS JOIN LATERAL jsonb_array_elements(decisions.events) AS event
    WHERE decisions.organization_id = 'worker' AND event ->> 'kind' = 'guard.tripped'
    ORDER BY decisions.id DESC
    LIMIT 1
) AS said
WHERE document -> 'trip' ->> 'at' IS NOT NULL;

-- A trip by hand was meant for everything that harms: it stops requested deactivations as well.
UPDATE safeguards
SET document = jsonb_set(
    document, '{requests_trip}', jsonb_set(document -> 'trip', '{allowance}', '0')
)
WHERE document -> 'trip' ->> 'by' IS NOT NULL;

-- Serves `canceled_since`: how many were canceled within the last hour.
CREATE INDEX decisions_of_cancellations ON decisions (decided_at)
WHERE state = 'canceled' AND state_before = 'active';
