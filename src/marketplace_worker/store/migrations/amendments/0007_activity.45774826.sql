-- What 0007 was given after its second text: of the erased, no dead letter and no possible use stays.

CREATE FUNCTION pg_temp.text_of(key bytea) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    named text;
BEGIN
    named := convert_from(key, 'UTF8');
    BEGIN
        IF jsonb_typeof(named::jsonb) = 'string' THEN
            named := named::jsonb #>> '{}';
        END IF;
    EXCEPTION
        WHEN others THEN NULL;  -- no JSON: the id as it is
    END;
    RETURN CASE WHEN octet_length(named) BETWEEN 1 AND 1024 THEN named END;
EXCEPTION
    WHEN others THEN RETURN NULL;
END
$$;
DELETE FROM dead_letters USING organizations
WHERE document ->> 'erased_at' IS NOT NULL AND pg_temp.text_of(key) = organization_id;
DELETE FROM possible_use USING organizations
WHERE document ->> 'erased_at' IS NOT NULL
  AND possible_use.organization_id = organizations.organization_id;
