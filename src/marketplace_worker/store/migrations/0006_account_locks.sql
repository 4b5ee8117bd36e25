-- What a batch locks of the billing accounts that it tells.

-- A row for each number (`_number` in store/subscriptions.py), never read and never deleted: two
-- halves of a match that are told at once have no other row in common.  Not advisory locks: all
-- clients of the server share room for a few thousand of those, and one notification may tell of
-- more accounts than that.
CREATE TABLE account_locks (number integer PRIMARY KEY);

GRANT SELECT, INSERT, UPDATE ON account_locks TO marketplace_worker_app;
