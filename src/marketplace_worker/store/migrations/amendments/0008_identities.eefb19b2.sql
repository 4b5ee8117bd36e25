-- What 0008 was given after its first text: crowded accounts, and no other spelling can be written.

-- Billing accounts of which more organizations than `HOLDERS_MAX` (lifecycle/fleet.py) ever had a
-- subscription: a reseller's, or a constant.  Nobody looks for a match in them, so nobody need find
-- their subscriptions through them.  Rows are only ever added, each once.
CREATE TABLE crowded_accounts (
    marketplace text NOT NULL,
    billing_account text NOT NULL,
    PRIMARY KEY (marketplace, billing_account)
);
INSERT INTO crowded_accounts (marketplace, billing_account)
SELECT marketplace, billing_account
FROM billing_accounts
JOIN links USING (marketplace, subscription_id)
GROUP BY marketplace, billing_account
HAVING count(DISTINCT organization_id) > 100;
DELETE FROM billing_accounts USING crowded_accounts AS crowded
WHERE billing_accounts.marketplace = crowded.marketplace
  AND billing_accounts.billing_account = crowded.billing_account;
GRANT SELECT, INSERT ON crowded_accounts TO marketplace_worker_app;

-- A worker of an earlier version that still runs would write rows under other spellings, which nobody
-- finds again: it is refused, and its record is kept as a dead letter.
ALTER TABLE subscriptions
    ADD CONSTRAINT subscription_is_spelled_in_one_way
        CHECK (subscription_id = marketplace_id(subscription_id));
ALTER TABLE links
    ADD CONSTRAINT link_is_spelled_in_one_way
        CHECK (subscription_id = marketplace_id(subscription_id));
