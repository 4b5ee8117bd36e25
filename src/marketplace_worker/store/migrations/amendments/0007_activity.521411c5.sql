-- What 0007 was given after its first text: what could not be read of the feeds of activity.

-- How many records the topic of a feed had on each UTC day, by their own time; of these `nameless`:
-- those that could not be read and whose key is no organization's id.  By partition, as `feed_days`.
CREATE TABLE topic_days (
    feed text NOT NULL CHECK (feed IN ('logins', 'api_requests')),
    day date NOT NULL,
    partition integer NOT NULL,
    records bigint NOT NULL CHECK (records >= 0),
    nameless bigint NOT NULL CHECK (nameless >= 0),
    PRIMARY KEY (feed, day, partition)
) WITH (fillfactor = 70);

-- Records of a feed that are dead letters, and not redriven or said to be no use.  Outlives the dead
-- letters themselves, which leave by their age.  `letters`: how many parts of it could not be read.
-- `organization_id`: what its key says, whether or not there is such an organization; `nameless`:
-- there was none, so it is counted in `topic_days` as well.
CREATE TABLE possible_use (
    topic text NOT NULL,
    partition integer NOT NULL,
    "offset" bigint NOT NULL,
    recorded_at timestamptz NOT NULL,
    feed text NOT NULL CHECK (feed IN ('logins', 'api_requests')),
    used_at timestamptz NOT NULL,
    organization_id text,
    nameless boolean NOT NULL,
    letters integer NOT NULL CHECK (letters > 0),
    PRIMARY KEY (topic, partition, "offset", recorded_at)
);

-- Serves `named`, and the erasure of an organization.
CREATE INDEX possible_use_by_organization ON possible_use (organization_id, feed, used_at)
WHERE organization_id IS NOT NULL;

-- Serves `let_go`.
CREATE INDEX possible_use_by_age ON possible_use (used_at);

-- Whether an operator said that a dead letter of a feed was no use: `acted_by`, `acted_because`.
ALTER TABLE dead_letters ADD COLUMN no_use boolean NOT NULL DEFAULT false;

-- What could not be read before counts for the organization that its key names.  For everybody it
-- counts from now on only: how many records a day had was not kept.  (Only of topics that have the
-- names that they have by default; what is no text names nobody.)
CREATE FUNCTION pg_temp.text_of(key bytea) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    named text;
BEGIN
    named := convert_from(key, 'UTF8');
    BEGIN
        IF jsonb_typeof(named::jsonb) = 'string' THEN
            named := named::jsonb #>> '{}';
        END IF;
    EXCEPTION
        WHEN others THEN NULL;  -- no JSON: the id as it is
    END;
    RETURN CASE WHEN octet_length(named) BETWEEN 1 AND 1024 THEN named END;
EXCEPTION
    WHEN others THEN RETURN NULL;
END
$$;
DELETE FROM dead_letters USING organizations
WHERE document ->> 'erased_at' IS NOT NULL AND pg_temp.text_of(key) = organization_id;
INSERT INTO possible_use (
    topic, partition, "offset", recorded_at, feed, used_at, organization_id, nameless, letters
)
SELECT
    topic, partition, "offset", recorded_at,
    CASE topic WHEN 'identity.logins' THEN 'logins' ELSE 'api_requests' END,
    CASE
        WHEN recorded_at > 'epoch' AND recorded_at <= min(refused_at) + interval '1 hour'
        THEN recorded_at
        ELSE min(refused_at)
    END,
    min(pg_temp.text_of(key)), false, count(*)
FROM dead_letters
WHERE topic IN ('identity.logins', 'usage.api-requests')
  AND status <> 'redriven'
  AND pg_temp.text_of(key) IS NOT NULL
GROUP BY topic, partition, "offset", recorded_at;

GRANT SELECT, INSERT, UPDATE, DELETE ON login_days, topic_days, possible_use
TO marketplace_worker_app;
