-- One subscription under one id, however its UUID was spelled; billing accounts of resellers.

-- The same as `marketplace_id` in lifecycle/vocabulary.py.
CREATE FUNCTION marketplace_id(told text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN told ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN lower(told)
    WHEN told ~* '^\{[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\}$' THEN lower(btrim(told, '{}'))
    ELSE told
END;

-- A document with all its subscriptions' ids in that form.
CREATE FUNCTION respelled(document jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE
AS $$
DECLARE
    id text;
    whole text := document::text;
BEGIN
    FOR id IN
        SELECT DISTINCT told #>> '{}'
        FROM jsonb_path_query(document, '$.**.subscription_id ? (@.type() == "string")') AS told
    LOOP
        IF id <> marketplace_id(id) THEN
            whole := replace(
                whole,
                '"subscription_id": ' || to_json(id),
                '"subscription_id": ' || to_json(marketplace_id(id))
            );
        END IF;
    END LOOP;
    RETURN whole;
END
$$;

-- --- registers -----------------------------------------------------------------------------------

-- Which operation each of Azure's notes reports stands in its id, `ID:ACTION`; not where that is a
-- position, or the zero UUID.  What changed nothing though its action always does had failed.
UPDATE subscriptions
SET document = jsonb_set(document, '{notes}', (
    SELECT jsonb_agg(
        note
        || CASE
            WHEN note_id ~ '/[0-9]+/[0-9]+@' OR told_id IN (
                '00000000-0000-0000-0000-000000000000', '{00000000-0000-0000-0000-000000000000}'
            )
            THEN '{}'
            ELSE jsonb_build_object('operation', marketplace_id(told_id) || ':' || action)
        END
        || CASE
            WHEN note #>> '{change,kind}' = 'unchanged'
                AND action IN ('Subscribe', 'Renew', 'Suspend', 'Reinstate', 'Unsubscribe')
            THEN '{"progress": "failed"}' ELSE '{}'::jsonb
        END
        ORDER BY place
    )
    FROM jsonb_array_elements(document -> 'notes') WITH ORDINALITY AS told (note, place)
    CROSS JOIN LATERAL (
        SELECT
            note ->> 'id' AS note_id,
            regexp_replace(note ->> 'id', ':[^:]*$', '') AS told_id,
            substring(note ->> 'id' FROM '[^:]*$') AS action
    ) AS parts
))
WHERE marketplace = 'azure' AND document -> 'notes' <> '[]';

-- Each spelling of a subscription of which one spelling is not the form that is compared.
CREATE TABLE spellings AS
SELECT
    marketplace, subscription_id AS told_id, marketplace_id(subscription_id) AS id,
    respelled(document) AS document
FROM subscriptions
WHERE (marketplace, marketplace_id(subscription_id)) IN (
    SELECT marketplace, marketplace_id(subscription_id)
    FROM subscriptions
    WHERE subscription_id <> marketplace_id(subscription_id)
);
CREATE INDEX ON spellings (marketplace, id);
ANALYZE spellings;


DELETE FROM subscriptions USING spellings
WHERE subscriptions.marketplace = spellings.marketplace
  AND subscriptions.subscription_id = spellings.told_id;

INSERT INTO links (organization_id, marketplace, subscription_id)
SELECT organization_id, marketplace, marketplace_id(subscription_id)
FROM links
WHERE subscription_id <> marketplace_id(subscription_id)
ON CONFLICT DO NOTHING;
DELETE FROM links WHERE subscription_id <> marketplace_id(subscription_id);

-- All that was said of any spelling, in the order of the fold (`Note.order`, `Link.order`), as much
-- as a register keeps (`KEPT_MAX`).  What is personal of an erased organization stays erased.
INSERT INTO subscriptions (marketplace, subscription_id, document)
SELECT
    one.marketplace, one.id,
    jsonb_build_object(
        'key', jsonb_build_object('marketplace', one.marketplace, 'subscription_id', one.id),
        'notes', coalesce(notes.kept, '[]'),
        'links', coalesce(links.kept, '[]')
    )
FROM (SELECT DISTINCT marketplace, id FROM spellings) AS one
CROSS JOIN LATERAL (
    SELECT CASE
        WHEN bool_and(organizations.document ->> 'erased_at' IS NOT NULL)
        THEN '{"billing_account": null}'::jsonb ELSE '{}'
    END AS erased
    FROM links
    JOIN organizations USING (organization_id)
    WHERE links.marketplace = one.marketplace AND links.subscription_id = one.id
) AS holders
CROSS JOIN LATERAL (
    SELECT jsonb_agg(note || holders.erased ORDER BY happened_at, rank, note_id) AS kept
    FROM (
        SELECT DISTINCT
            note,
            (note ->> 'occurred_at')::timestamptz AS happened_at,
            (note ->> 'rank')::integer AS rank,
            (note ->> 'id') COLLATE "C" AS note_id
        FROM spellings, jsonb_array_elements(spellings.document -> 'notes') AS told (note)
        WHERE spellings.marketplace = one.marketplace AND spellings.id = one.id
        ORDER BY happened_at DESC, rank DESC, note_id DESC
        LIMIT 500
    ) AS newest
) AS notes
CROSS JOIN LATERAL (
    SELECT jsonb_agg(link || holders.erased ORDER BY happened_at, link_id) AS kept
    FROM (
        SELECT DISTINCT
            link,
            (link ->> 'occurred_at')::timestamptz AS happened_at,
            (link ->> 'id') COLLATE "C" AS link_id
        FROM spellings, jsonb_array_elements(spellings.document -> 'links') AS told (link)
        WHERE spellings.marketplace = one.marketplace AND spellings.id = one.id
        ORDER BY happened_at DESC, link_id DESC
        LIMIT 500
    ) AS newest
) AS links;

-- Those that continue one of these; `predecessor_id` repeats what the document says.
UPDATE subscriptions SET document = respelled(document) WHERE document <> respelled(document);
UPDATE subscriptions
SET predecessor_id = (
    SELECT note #>> '{change,successor_of,subscription_id}'
    FROM jsonb_array_elements(document -> 'notes') WITH ORDINALITY AS told (note, place)
    WHERE note #>> '{change,kind}' = 'pended'
      AND jsonb_typeof(note #> '{change,successor_of}') = 'object'
      AND note #> '{change,successor_of}' <> document -> 'key'
    ORDER BY place DESC
    LIMIT 1
)
WHERE predecessor_id <> marketplace_id(predecessor_id)
   OR (marketplace, subscription_id) IN (SELECT marketplace, id FROM spellings);

INSERT INTO billing_accounts (marketplace, billing_account, subscription_id)
SELECT marketplace, marketplace_id(billing_account), marketplace_id(subscription_id)
FROM billing_accounts
WHERE subscription_id <> marketplace_id(subscription_id)
   OR billing_account <> marketplace_id(billing_account)
ON CONFLICT DO NOTHING;
DELETE FROM billing_accounts
WHERE subscription_id <> marketplace_id(subscription_id)
   OR billing_account <> marketplace_id(billing_account);

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

-- --- organizations -------------------------------------------------------------------------------

UPDATE organizations SET document = respelled(document) WHERE document <> respelled(document);

-- Which ends had their final usage called for (`Organization.reported`): those of one subscription
-- that was spelled twice are one list.  Earlier versions called for none at Google and Azure; what
-- has ended there, once and for good, is not called for now, also where Azure's end is delivered
-- once more.
WITH told AS (
    SELECT
        organization_id, said -> 'subscription' AS subscription,
        coalesce((said ->> 'ends')::integer, 0) AS ends,
        coalesce(said -> 'closed_at', '[]') AS closed_at
    FROM organizations, jsonb_array_elements(document -> 'reported') AS reported (said)
    UNION ALL
    SELECT organization_id, document -> 'key', 1, '[]'
    FROM links
    JOIN subscriptions USING (marketplace, subscription_id)
    WHERE marketplace IN ('gcp', 'azure')
      AND jsonb_path_exists(
          document,
          '$.notes[*].change.kind ? (@ == "ended" || @ == "unsubscribed" || @ == "superseded")'
      )
),
one_each AS (
    SELECT
        organization_id, subscription, max(ends) AS ends,
        coalesce(jsonb_agg(DISTINCT at) FILTER (WHERE at IS NOT NULL), '[]') AS closed_at
    FROM told
    LEFT JOIN LATERAL jsonb_array_elements(told.closed_at) AS closed (at) ON true
    GROUP BY organization_id, subscription
),
merged AS (
    SELECT organization_id, jsonb_agg(
        jsonb_build_object('subscription', subscription, 'ends', ends, 'closed_at', closed_at)
        ORDER BY
            subscription ->> 'marketplace', (subscription ->> 'subscription_id') COLLATE "C"
    ) AS reported
    FROM one_each
    GROUP BY organization_id
)
UPDATE organizations
SET document = jsonb_set(document, '{reported}', merged.reported)
FROM merged
WHERE organizations.organization_id = merged.organization_id
  AND document -> 'reported' <> merged.reported;

-- Plans may have ended, or may count again, by what was told under another spelling: each
-- organization is looked at once.  Dwell and notices count from then on.
UPDATE organizations SET next_due_at = now() WHERE created AND state <> 'deactivated';

-- --- the journal ---------------------------------------------------------------------------------

-- Its rows stay as they were told, for their hashes cover that.  The rules that they were decided by
-- are gone, and folding begins anew.  `head` goes on where each chain ends.
DELETE FROM checkpoints WHERE marketplace <> '' AND id <> marketplace_id(id);
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

-- Serves a subscription's history, under all its spellings.
DROP INDEX journal_by_subscription;
CREATE INDEX journal_by_subscription
ON journal (marketplace, marketplace_id(subscription_id), id)
WHERE subscription_id IS NOT NULL;
-- Without it Postgres takes the condition for one that many rows meet, and reads all of them.
CREATE STATISTICS journal_spellings ON marketplace_id(subscription_id) FROM journal;
ANALYZE journal;

-- As migration 0003 has it, but under all spellings.
CREATE OR REPLACE FUNCTION erase_journal(organization text) RETURNS void
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
        JOIN journal
            ON journal.marketplace = links.marketplace
           AND marketplace_id(journal.subscription_id) = links.subscription_id
           AND journal.subscription_id IS NOT NULL
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

-- What was told under another spelling of those that are erased already.
SELECT erase_journal(organization_id)
FROM organizations
WHERE document ->> 'erased_at' IS NOT NULL;
DELETE FROM billing_accounts USING subscriptions
WHERE billing_accounts.marketplace = subscriptions.marketplace
  AND billing_accounts.subscription_id = subscriptions.subscription_id
  AND (subscriptions.marketplace, subscriptions.subscription_id)
      IN (SELECT marketplace, id FROM spellings)
  AND NOT jsonb_path_exists(
      document, '$.*.billing_account ? (@.type() == "string")'
  );

-- A worker of an earlier version that still runs would write rows under other spellings, which nobody
-- finds again: it is refused, and its record is kept as a dead letter.
ALTER TABLE subscriptions
    ADD CONSTRAINT subscription_is_spelled_in_one_way
        CHECK (subscription_id = marketplace_id(subscription_id));
ALTER TABLE links
    ADD CONSTRAINT link_is_spelled_in_one_way
        CHECK (subscription_id = marketplace_id(subscription_id));

DROP TABLE spellings;
DROP FUNCTION respelled(jsonb);
