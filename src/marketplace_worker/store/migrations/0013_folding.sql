-- Folding the journal begins anew: between two releases the rules changed by which old rows were
-- decided, and a database that was written meanwhile would be found to differ.  `head` goes on where
-- each chain ends.
INSERT INTO checkpoints AS known (marketplace, id, journal_id, decided_at, document, head)
SELECT '', organization_id, cut.id, now(), document::json, coalesce(
    (
        SELECT hash FROM journal
        WHERE journal.organization_id = organizations.organization_id AND hash IS NOT NULL
        ORDER BY journal.id DESC LIMIT 1
    ),
    ''
)
FROM organizations, (SELECT coalesce(max(id), 0) AS id FROM journal) AS cut
UNION ALL
SELECT marketplace, subscription_id, cut.id, now(), document::json, coalesce(
    (
        SELECT hash FROM journal
        WHERE journal.marketplace = subscriptions.marketplace
          AND journal.subscription_id = subscriptions.subscription_id
          AND organization_id IS NULL AND hash IS NOT NULL
        ORDER BY journal.id DESC LIMIT 1
    ),
    ''
)
FROM subscriptions, (SELECT coalesce(max(id), 0) AS id FROM journal) AS cut
ON CONFLICT (marketplace, id) DO UPDATE
SET journal_id = excluded.journal_id,
    decided_at = excluded.decided_at,
    document = excluded.document,
    head = CASE WHEN excluded.head = '' THEN known.head ELSE excluded.head END;
