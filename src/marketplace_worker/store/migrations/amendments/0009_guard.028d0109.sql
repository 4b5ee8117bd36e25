-- What 0009 was given after its first text: cancellations are counted.

-- Serves `canceled_since`: how many were canceled within the last hour.
CREATE INDEX decisions_of_cancellations ON decisions (decided_at)
WHERE state = 'canceled' AND state_before = 'active';
