-- The registers, the journal, the outbox: everything that one transaction ties together.

-- One row an organization; also its own timer (docs/architecture.md, decision 3).
-- `document` is the aggregate; the columns beside it are what SQL itself must see.
CREATE TABLE organizations (
    organization_id text PRIMARY KEY,
    document jsonb NOT NULL,
    state text NOT NULL
        CHECK (state IN ('active', 'canceled', 'control_plane_loss', 'suspended', 'deactivated')),
    sequence bigint NOT NULL CHECK (sequence >= 0),
    next_due_at timestamptz,
    CONSTRAINT deactivated_has_no_deadline CHECK (state <> 'deactivated' OR next_due_at IS NULL)
);

-- Serves `claim_due`: only organizations that something can become of are in it.
CREATE INDEX organizations_due ON organizations (next_due_at) WHERE next_due_at IS NOT NULL;

-- One row a marketplace subscription, linked or not.  `predecessor_id` repeats what the document
-- says, so that a family (a chain of renewals) can be found from either end.
CREATE TABLE subscriptions (
    marketplace text NOT NULL CHECK (marketplace IN ('aws', 'gcp', 'azure')),
    subscription_id text NOT NULL,
    predecessor_id text,
    document jsonb NOT NULL,
    PRIMARY KEY (marketplace, subscription_id)
);

-- Serves `family`, downwards.
CREATE INDEX subscriptions_successors ON subscriptions (marketplace, predecessor_id)
WHERE predecessor_id IS NOT NULL;

-- Which subscriptions were ever linked to which organization, by an explicit link.
CREATE TABLE links (
    organization_id text NOT NULL,
    marketplace text NOT NULL,
    subscription_id text NOT NULL,
    PRIMARY KEY (organization_id, marketplace, subscription_id)
);

-- Serves `holders`: from a subscription to its organizations.
CREATE INDEX links_by_subscription ON links (marketplace, subscription_id, organization_id);

-- Every fact that was taken, once, with what became of it: the inbox and the history in one.
CREATE TABLE journal (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source text NOT NULL,
    message_id text NOT NULL,
    kind text NOT NULL,
    organization_id text,
    marketplace text,
    subscription_id text,
    occurred_at timestamptz NOT NULL,
    decided_at timestamptz NOT NULL,
    policy_version text NOT NULL,
    outcome text NOT NULL,
    position text,
    fact jsonb NOT NULL,
    CONSTRAINT journal_identity UNIQUE (source, message_id)
);

-- Serve an organization's and a subscription's history.
CREATE INDEX journal_by_organization ON journal (organization_id, id)
WHERE organization_id IS NOT NULL;
CREATE INDEX journal_by_subscription ON journal (marketplace, subscription_id, id)
WHERE subscription_id IS NOT NULL;

-- What was promised and is not yet known to be in Kafka; emptied by deleting (decision 5).
-- Per organization, id order is commit order: its row is locked before its promises are written.
CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    shard smallint NOT NULL,
    topic text NOT NULL,
    key bytea,
    value bytea,
    headers json NOT NULL,  -- json, for jsonb refuses NUL in a name
    written_at timestamptz NOT NULL
);

-- Serves `next_batch`: the oldest of one shard.
CREATE INDEX outbox_by_shard ON outbox (shard, id);

-- Rows live for milliseconds: vacuum by count, not by share, or the index fills with the dead.
ALTER TABLE outbox SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

-- What could not be read, with its bytes and the reason.  A record may hold several parts.
CREATE TABLE dead_letters (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic text NOT NULL,
    partition integer NOT NULL,
    "offset" bigint NOT NULL,
    part integer NOT NULL,
    recorded_at timestamptz NOT NULL,
    refused_at timestamptz NOT NULL,
    reason text NOT NULL,
    field text NOT NULL,
    key bytea,
    value bytea,
    headers json NOT NULL,
    -- The time tells a topic that was made anew, and counts from 0 again, from the one before it.
    CONSTRAINT dead_letters_position UNIQUE (topic, partition, "offset", recorded_at, part)
);

-- The newest login and API request of each organization, and how many there were (decision 4).
CREATE TABLE activity (
    organization_id text PRIMARY KEY,
    last_login_at timestamptz,
    last_request_at timestamptz,
    logins bigint NOT NULL CHECK (logins >= 0),
    requests bigint NOT NULL CHECK (requests >= 0)
) WITH (fillfactor = 70);

-- How far activity has been counted, so that a record delivered again is not counted twice.
-- A record before `next_offset` that is newer than `newest_at` is of a topic that was made anew.
CREATE TABLE activity_offsets (
    topic text NOT NULL,
    partition integer NOT NULL,
    next_offset bigint NOT NULL,
    newest_at timestamptz NOT NULL,
    PRIMARY KEY (topic, partition)
);
