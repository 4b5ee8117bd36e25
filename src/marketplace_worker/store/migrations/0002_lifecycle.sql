-- The whole lifecycle: what SQL must see of it, and what all workers share.

-- What a statement looks organizations up by repeats what the document says.  `created`: it exists,
-- and is more than a row to be locked.  `watches_activity`: a login or an API request may change
-- what is decided as soon as it is heard.  `withheld`: the guard withholds the step that is due.
-- `owner_email`, `locked_email`: keyed hashes.
ALTER TABLE organizations
    ADD COLUMN created boolean NOT NULL DEFAULT false,
    ADD COLUMN watches_activity boolean NOT NULL DEFAULT false,
    ADD COLUMN withheld boolean NOT NULL DEFAULT false,
    ADD COLUMN owner_email text,
    ADD COLUMN locked_email text;

-- Version 0.1 locked the owner's email with each deactivation (it said so) and did not write down
-- which.  It never looked at what it did not cancel: each organization is looked at once, when a
-- worker next does, and its next moment is derived by the rules that hold now.
UPDATE organizations
SET created = document ->> 'creation' IS NOT NULL,
    watches_activity = state IN ('canceled', 'control_plane_loss', 'suspended'),
    owner_email = document #>> '{owner,value}',
    locked_email = CASE WHEN state = 'deactivated' THEN document #>> '{owner,value}' END,
    document = CASE
        WHEN state = 'deactivated'
        THEN jsonb_set(document, '{locked_email}', document #> '{owner,value}')
        ELSE document
    END,
    next_due_at = CASE
        WHEN document ->> 'creation' IS NOT NULL AND state <> 'deactivated' THEN now()
    END;

ALTER TABLE organizations
    ADD CONSTRAINT only_deactivation_locks_an_email
        CHECK (locked_email IS NULL OR state = 'deactivated'),
    ADD CONSTRAINT deactivated_waits_for_nothing
        CHECK (state <> 'deactivated' OR NOT (watches_activity OR withheld));

-- Serves `watching`: few are on their way down or have a notice of inactivity.
CREATE INDEX organizations_watching ON organizations (organization_id) WHERE watches_activity;

-- Serve `withheld` and `wake_withheld`; and `population`, which the guard's limit counts.
CREATE INDEX organizations_withheld ON organizations (organization_id) WHERE withheld;
CREATE INDEX organizations_in_the_fleet ON organizations (organization_id)
WHERE created AND state <> 'deactivated';

-- Serve `meeting`: who has a part in an email.
CREATE INDEX organizations_by_owner ON organizations (owner_email) WHERE owner_email IS NOT NULL;
CREATE INDEX organizations_by_lock ON organizations (locked_email) WHERE locked_email IS NOT NULL;

-- Serves `claim_due`, in its order: many may be due at one instant, after this migration or when
-- the guard is released.
DROP INDEX organizations_due;
CREATE INDEX organizations_due ON organizations (next_due_at, organization_id)
WHERE next_due_at IS NOT NULL;

-- Which billing accounts a subscription was ever said to have: who shares one is of one family, for
-- what nobody linked may be a customer's who is known (lifecycle.md section 4).
CREATE TABLE billing_accounts (
    marketplace text NOT NULL,
    billing_account text NOT NULL,
    subscription_id text NOT NULL,
    PRIMARY KEY (marketplace, billing_account, subscription_id)
);

-- Serves `family`: from a subscription to its accounts, and back by the key.
CREATE INDEX billing_accounts_by_subscription
ON billing_accounts (marketplace, subscription_id, billing_account);

INSERT INTO billing_accounts (marketplace, billing_account, subscription_id)
SELECT DISTINCT marketplace, told ->> 'billing_account', subscription_id
FROM subscriptions
CROSS JOIN LATERAL (
    SELECT * FROM jsonb_array_elements(document -> 'notes')
    UNION ALL
    SELECT * FROM jsonb_array_elements(document -> 'links')
) AS said (told)
WHERE told ->> 'billing_account' IS NOT NULL;

-- Every policy that was ever in force, for the organizations that are pinned to it by its version.
CREATE TABLE policies (
    version text PRIMARY KEY,
    document jsonb NOT NULL,
    first_used_at timestamptz NOT NULL
);

-- When each feed of activity was heard, by event time and UTC day.  By partition, so that the
-- consumers of two partitions do not wait for one another; read over all of them.
CREATE TABLE feed_days (
    feed text NOT NULL CHECK (feed IN ('logins', 'api_requests')),
    day date NOT NULL,
    partition integer NOT NULL,
    first_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    PRIMARY KEY (feed, day, partition),
    CHECK (first_at <= last_at)
);

-- May harm happen now?  One row for the whole fleet, locked by whoever is about to take a harmful
-- step; so that all workers share one limit.
CREATE TABLE safeguards (
    the_only_row boolean PRIMARY KEY DEFAULT true CHECK (the_only_row),
    document jsonb NOT NULL
);
INSERT INTO safeguards (document) VALUES ('{}');

-- The history: what a fact made of each organization for which it decided anything, and what the
-- worker itself said because of it (as organization `worker`, which has no state).  The fact is in
-- the journal, under the same identity.  `readings`: what was looked up for it and is kept nowhere
-- else as it was then.
CREATE TABLE decisions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source text NOT NULL,
    message_id text NOT NULL,
    organization_id text NOT NULL,
    decided_at timestamptz NOT NULL,
    state_before text,
    state text,
    policy_version text NOT NULL,
    readings jsonb NOT NULL,
    events jsonb NOT NULL
);
CREATE INDEX decisions_by_organization ON decisions (organization_id, id);

-- Version 0.1 wrote Support's requests down and did not answer them.  Forgotten, so that the same
-- request is acted on when it is sent again.  They are not acted on by themselves: a person asked
-- long ago for what may by now hurt somebody, and was told nothing.
DELETE FROM journal WHERE outcome = 'not_supported';
