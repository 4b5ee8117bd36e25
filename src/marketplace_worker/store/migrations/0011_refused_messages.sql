-- Messages that Kafka refuses hold back their own key, and each topic has a line of its own.

-- Null: in line.  A moment: Kafka refused the message, and it is sent again then.  'infinity': a
-- message of its key stands before it and was refused.
ALTER TABLE outbox ADD COLUMN held_until timestamptz;
ALTER TABLE outbox ADD COLUMN refusals integer NOT NULL DEFAULT 0 CHECK (refusals >= 0);

-- Serves `waiting` and `next_batch`: the oldest of one topic and shard.
DROP INDEX outbox_by_shard;
CREATE INDEX outbox_in_line ON outbox (topic, shard, id) WHERE held_until IS NULL;

-- Serve `next_batch` and `release`: what is held of a key, which may be longer than an entry
-- of an index; and `waiting`, `due` and `held`.  Both are empty where Kafka takes everything.
CREATE INDEX outbox_held_by_key ON outbox (topic, sha256(key), id) WHERE held_until IS NOT NULL;
CREATE INDEX outbox_held ON outbox (topic, shard, held_until, id) WHERE held_until IS NOT NULL;
