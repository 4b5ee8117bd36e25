-- What 0008 was given after its second text: no other spelling can be written.

-- A worker of an earlier version that still runs would write rows under other spellings, which nobody
-- finds again: it is refused, and its record is kept as a dead letter.
ALTER TABLE subscriptions
    ADD CONSTRAINT subscription_is_spelled_in_one_way
        CHECK (subscription_id = marketplace_id(subscription_id));
ALTER TABLE links
    ADD CONSTRAINT link_is_spelled_in_one_way
        CHECK (subscription_id = marketplace_id(subscription_id));
