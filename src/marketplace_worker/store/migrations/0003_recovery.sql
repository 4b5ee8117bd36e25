-- A journal that can be folded again, cannot be changed unnoticed, and does not grow for ever.

-- Whom the worker works as: every connection of its pool takes this role, whoever it logs in as
-- (docs/operating.md, "The database's roles").  A role is the whole server's, so it may be there.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'marketplace_worker_app') THEN
        CREATE ROLE marketplace_worker_app NOLOGIN;
    END IF;
    IF NOT pg_has_role(current_user, 'marketplace_worker_app', 'MEMBER') THEN
        GRANT marketplace_worker_app TO CURRENT_USER;
    END IF;
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO marketplace_worker_app', current_schema());
END
$$;

-- `fact`: null where it was erased.  json, not jsonb: what the hash covers is kept to the byte.
-- `readings`: what the decision was told that no register holds: when its organizations were last
-- in use, the guard's answer, silent feeds.  With it the journal can be folded again by itself.
-- `salt`, `content_hash`: the fact is hashed with a salt of its own, and the chain goes over that
-- hash.  So fact and salt can be erased without breaking the chain, and cannot be guessed from it.
-- `previous_hash`, `hash`: the chain of the organization, or of the subscription where a row names
-- no organization; empty at its beginning.  (store/chain.py.)
ALTER TABLE journal
    ALTER COLUMN fact TYPE json USING fact::json,
    ALTER COLUMN fact DROP NOT NULL,
    ADD COLUMN readings json NOT NULL DEFAULT '{}',
    ADD COLUMN salt bytea,
    ADD COLUMN content_hash bytea,
    ADD COLUMN previous_hash bytea,
    ADD COLUMN hash bytea;

-- What earlier versions wrote has no hash; nothing without one can be added.
ALTER TABLE journal ADD CONSTRAINT journal_is_chained CHECK (
    content_hash IS NOT NULL AND previous_hash IS NOT NULL AND hash IS NOT NULL
    AND (fact IS NULL) = (salt IS NULL)
) NOT VALID;

-- Replaced by the journal's.
ALTER TABLE decisions DROP COLUMN readings;

-- Serves `kin`: whose emails were ever the same.
CREATE INDEX journal_by_owner ON journal ((fact ->> 'owner'))
WHERE kind IN ('organization.created', 'organization.owner_changed');

-- Serves `kin` and `retire`: what a fact made of others than it names.
CREATE INDEX decisions_by_cause ON decisions (source, message_id);

-- Where folding again begins: an aggregate or a register as it was after the row `journal_id`, for
-- all that belong together at once.  Rows up to that one may be gone, or erased.  `marketplace` is
-- empty for an organization.  `head`: the hash of the last row of its chain up to there.
CREATE TABLE checkpoints (
    marketplace text NOT NULL,
    id text NOT NULL,
    journal_id bigint NOT NULL,
    decided_at timestamptz NOT NULL,
    document json NOT NULL,
    head bytea NOT NULL,
    PRIMARY KEY (marketplace, id)
);
-- What was decided by earlier versions cannot be folded again: it was not written down what they
-- were told.
INSERT INTO checkpoints (marketplace, id, journal_id, decided_at, document, head)
SELECT '', organization_id, cut.id, now(), document::json, ''::bytea
FROM organizations, (SELECT coalesce(max(id), 0) AS id FROM journal) AS cut
UNION ALL
SELECT marketplace, subscription_id, cut.id, now(), document::json, ''::bytea
FROM subscriptions, (SELECT coalesce(max(id), 0) AS id FROM journal) AS cut;

-- Serve retention.
CREATE INDEX journal_by_age ON journal (decided_at, id);
CREATE INDEX dead_letters_by_age ON dead_letters (refused_at, id);

-- What the worker may do.  To the journal and the history it can only add.
GRANT SELECT ON schema_migrations TO marketplace_worker_app;
GRANT SELECT, INSERT ON journal, decisions TO marketplace_worker_app;
GRANT SELECT, INSERT, UPDATE ON
    organizations, subscriptions, links, policies, safeguards, activity_offsets, feed_days,
    checkpoints
TO marketplace_worker_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON activity, billing_accounts, outbox, dead_letters
TO marketplace_worker_app;

-- The two doors in that wall.  Each looks for itself whether it may open.

-- Rows that are folded into a checkpoint or name nobody; none that Kafka might deliver again (the
-- lower bound of the setting).
CREATE FUNCTION retire_journal(ids bigint[]) RETURNS void
LANGUAGE sql SECURITY DEFINER
BEGIN ATOMIC
    WITH retired AS (
        DELETE FROM journal
        WHERE id = ANY(ids) AND decided_at < clock_timestamp() - interval '30 days'
        RETURNING source, message_id
    )
    DELETE FROM decisions USING retired
    WHERE decisions.source = retired.source AND decisions.message_id = retired.message_id;
END;

-- What an organization was told that has been erased, and what was said of it; of the news of
-- subscriptions only what was never another's.  The rows stay, and so does the chain; rows of
-- earlier versions have none.
CREATE FUNCTION erase_journal(organization text) RETURNS void
LANGUAGE sql SECURITY DEFINER
BEGIN ATOMIC
    WITH erased AS (
        SELECT organization_id FROM organizations
        WHERE organization_id = organization AND document ->> 'erased_at' IS NOT NULL
    ),
    concerned AS (
        SELECT journal.id FROM erased JOIN journal USING (organization_id)
        WHERE journal.kind <> 'organization.erased'
        UNION ALL
        SELECT journal.id
        FROM erased
        JOIN links USING (organization_id)
        JOIN journal USING (marketplace, subscription_id)
        WHERE journal.organization_id IS NULL
          AND NOT EXISTS (
              SELECT FROM links AS others
              WHERE others.marketplace = links.marketplace
                AND others.subscription_id = links.subscription_id
                AND others.organization_id <> organization
          )
    ),
    emptied AS (
        UPDATE journal SET fact = NULL, salt = NULL FROM concerned
        WHERE journal.id = concerned.id AND journal.hash IS NOT NULL
    ),
    unchained AS (
        DELETE FROM journal USING concerned
        WHERE journal.id = concerned.id AND journal.hash IS NULL
    )
    UPDATE decisions SET events = '[]' FROM erased
    WHERE decisions.organization_id = erased.organization_id;
END;

REVOKE ALL ON FUNCTION retire_journal(bigint[]), erase_journal(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION retire_journal(bigint[]), erase_journal(text) TO marketplace_worker_app;
