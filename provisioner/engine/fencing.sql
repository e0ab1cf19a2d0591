-- Refuses an engine that outlived its lease. Engines of the service connect to the state backend as
-- `tenantry/<stack>/<fencing number>`; a write under a number lower than the lease's present one is refused, whatever it
-- writes. Other sessions (a person's `pulumi`, psql) write as they like: Pulumi's own lock keeps them apart.
-- {table}, {trigger} and {function} are identifiers that `fencing.install` fills in. Running it again changes nothing.
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER  -- whoever may write the state need not be able to read the leases
SET search_path = pg_catalog, pg_temp
AS $fence$
DECLARE
    application text[] := regexp_match(current_setting('application_name'), '^tenantry/([^/]+)/([0-9]+)$');
    present bigint;
BEGIN
    IF application IS NULL THEN
        RETURN NULL;
    END IF;
    -- The share lock makes a takeover wait for this write, or this write see the takeover: never both pass.
    SELECT fencing INTO present FROM registry.lease WHERE stack_name = application[1] FOR SHARE;
    IF present IS NULL THEN
        RAISE EXCEPTION 'the lease of stack % is gone; number % may no longer write', application[1], application[2]
            USING ERRCODE = 'TFENC', HINT = 'Another worker has taken the stack over.';
    END IF;
    IF application[2]::bigint < present THEN
        RAISE EXCEPTION 'lease % of stack % was taken over by lease %', application[2], application[1], present
            USING ERRCODE = 'TFENC', HINT = 'Another worker has taken the stack over.';
    END IF;
    RETURN NULL;
END
$fence$;

REVOKE ALL ON FUNCTION {function}() FROM PUBLIC;

DROP TRIGGER IF EXISTS {trigger} ON {table};
CREATE TRIGGER {trigger} BEFORE INSERT OR UPDATE OR DELETE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION {function}();
