-- Snapshots that keep Postgres from removing deleted rows.

-- name: oldest_xmin_age
-- How many transactions have begun since the oldest snapshot that is still held: by a session of
-- this database or one that sends to a standby, by a replication slot, or by a prepared transaction.
-- Every role may read these views.
SELECT max(age(xmin))
FROM (
    SELECT backend_xmin AS xmin
    FROM pg_stat_activity
    WHERE datname = current_database() OR datname IS NULL
    UNION ALL
    SELECT xmin FROM pg_replication_slots
    UNION ALL
    SELECT transaction FROM pg_prepared_xacts WHERE database = current_database()
) AS held;
