-- What a tenant may use: its plan's terms, an operator's exceptions to them, what it stores, and the calls it has made.

-- Rates as the plan gives them, cut while the tenant is throttled: [{"name", "amount", "seconds", "soft"}].
ALTER TABLE registry.tenant ADD COLUMN IF NOT EXISTS rates jsonb NOT NULL DEFAULT '[]';
-- Names of `limits` that are reported when they are exceeded, not refused.
ALTER TABLE registry.tenant ADD COLUMN IF NOT EXISTS soft_limits text[] NOT NULL DEFAULT '{}';

-- An operator's exception for one life of a tenant. It ends by itself at `expires_at`.
CREATE TABLE IF NOT EXISTS registry.entitlement_override (
    tenant_id  text NOT NULL REFERENCES registry.tenant ON DELETE CASCADE,
    generation integer NOT NULL,
    kind       text NOT NULL CHECK (kind IN ('feature', 'limit', 'rate')),
    name       text NOT NULL CHECK (name ~ '^[a-z][a-z0-9_.-]{0,79}$'),
    granted    boolean,                -- of a feature: whether the tenant has it
    value      bigint CHECK (value >= 0),  -- of a limit, or of a rate's calls; null: unlimited
    reason     text NOT NULL,
    author     text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,            -- null: until it is cleared
    PRIMARY KEY (tenant_id, generation, kind, name),
    CHECK ((kind = 'feature') = (granted IS NOT NULL)),
    CHECK (kind <> 'feature' OR value IS NULL)
);
CREATE INDEX IF NOT EXISTS entitlement_override_expiry ON registry.entitlement_override (expires_at)
    WHERE expires_at IS NOT NULL;

-- What a tenant stores, as last measured.
CREATE TABLE IF NOT EXISTS registry.storage_usage (
    tenant_id      text PRIMARY KEY REFERENCES registry.tenant ON DELETE CASCADE,
    generation     integer NOT NULL,
    database_bytes bigint NOT NULL CHECK (database_bytes >= 0),
    files_bytes    bigint NOT NULL CHECK (files_bytes >= 0),
    files          bigint NOT NULL CHECK (files >= 0),
    measured_at    timestamptz NOT NULL,
    alerted        integer NOT NULL DEFAULT 0  -- the highest percentage of its limit that was reported
);

-- Calls that a tenant's applications have taken in the present and the previous window of a rate. Not logged: after a
-- crash of the server every window begins anew.
CREATE UNLOGGED TABLE IF NOT EXISTS registry.rate_window (
    tenant_id     text NOT NULL,
    name          text NOT NULL,
    window_number bigint NOT NULL,     -- Unix time divided by `seconds`
    seconds       integer NOT NULL,
    taken         bigint NOT NULL,
    taken_before  bigint NOT NULL,     -- in the window before that one
    PRIMARY KEY (tenant_id, name)
) WITH (fillfactor = 50);

CREATE OR REPLACE TRIGGER entitlement_terms_changed AFTER UPDATE ON registry.tenant
    FOR EACH ROW WHEN (
        (OLD.access, OLD.access_reason, OLD.access_since, OLD.generation, OLD.seats, OLD.rates, OLD.soft_limits)
        IS DISTINCT FROM
        (NEW.access, NEW.access_reason, NEW.access_since, NEW.generation, NEW.seats, NEW.rates, NEW.soft_limits)
    )
    EXECUTE FUNCTION registry.notify_placement();
CREATE OR REPLACE TRIGGER entitlement_override_changed AFTER INSERT OR UPDATE OR DELETE ON registry.entitlement_override
    FOR EACH ROW EXECUTE FUNCTION registry.notify_placement();

-- The SDK's contract. A new version is a new schema; this one keeps its columns.
--   features     names that the tenant has; '*' stands for all but those in `excluded`
--   limits       name -> number; a name that is absent is unlimited
--   rates        [{"name", "amount", "seconds", "soft"}]
--   overrides    [{"kind", "name", "without", "expires_at"}] of those that end: `without` is what holds then (of a feature
--                true or false, of a limit its number, of a rate its object; null: none), `expires_at` in Unix seconds
--   valid_until  when the first of them ends
CREATE OR REPLACE VIEW tenantry_v1.entitlement AS
SELECT t.tenant_id, t.generation, t.plan, t.access, t.access_reason, t.access_since,
       ARRAY(SELECT unnest(t.features) UNION SELECT unnest(o.granted) EXCEPT SELECT unnest(o.excluded) ORDER BY 1)
           AS features,
       o.excluded,
       (terms.limits || o.limits) - o.unlimited AS limits,
       t.soft_limits,
       r.rates,
       (((terms.limits || o.limits) - o.unlimited) ->> 'seats')::bigint AS seats,
       o.overrides,
       CASE WHEN s.tenant_id IS NULL THEN NULL
            ELSE jsonb_build_object('database_bytes', s.database_bytes, 'files_bytes', s.files_bytes, 'files', s.files,
                                    'measured_at', extract(epoch FROM s.measured_at))
       END AS storage,
       greatest(t.updated_at, o.changed_at) AS updated_at,
       o.valid_until
  FROM registry.tenant t
 CROSS JOIN LATERAL (
       -- seats that are paid for one by one say more than the plan's number
       SELECT CASE WHEN t.seats IS NULL THEN t.limits
                   ELSE t.limits || jsonb_build_object('seats', t.seats) END AS limits) AS terms
 CROSS JOIN LATERAL (
       SELECT coalesce(array_agg(each.name) FILTER (WHERE each.granted), '{}') AS granted,
              coalesce(array_agg(each.name ORDER BY each.name) FILTER (WHERE NOT each.granted), '{}') AS excluded,
              coalesce(jsonb_object_agg(each.name, each.value) FILTER (WHERE each.kind = 'limit' AND each.value IS NOT NULL), '{}')
                  AS limits,
              coalesce(array_agg(each.name) FILTER (WHERE each.kind = 'limit' AND each.value IS NULL), '{}') AS unlimited,
              coalesce(jsonb_object_agg(each.name, each.value) FILTER (WHERE each.kind = 'rate'), '{}') AS rates,
              coalesce(jsonb_agg(jsonb_build_object(
                  'kind', each.kind, 'name', each.name, 'expires_at', extract(epoch FROM each.expires_at),
                  'without', CASE each.kind
                      WHEN 'feature' THEN to_jsonb(each.name = ANY (t.features) OR '*' = ANY (t.features))
                      WHEN 'limit' THEN terms.limits -> each.name
                      ELSE (SELECT rate FROM jsonb_array_elements(t.rates) AS rate
                             WHERE rate ->> 'name' = each.name LIMIT 1) END
              ) ORDER BY each.expires_at) FILTER (WHERE each.expires_at IS NOT NULL), '[]') AS overrides,
              max(each.created_at) AS changed_at,
              min(each.expires_at) AS valid_until
         FROM registry.entitlement_override AS each
        WHERE each.tenant_id = t.tenant_id AND each.generation = t.generation
          AND (each.expires_at IS NULL OR each.expires_at > now())) AS o
 CROSS JOIN LATERAL (
       SELECT coalesce(jsonb_agg(CASE WHEN o.rates ? (rate ->> 'name')
                                      THEN rate || jsonb_build_object('amount', o.rates -> (rate ->> 'name'))
                                      ELSE rate END ORDER BY rate ->> 'name'), '[]') AS rates
         FROM jsonb_array_elements(t.rates) AS rate
        WHERE o.rates -> (rate ->> 'name') IS DISTINCT FROM 'null'::jsonb) AS r
  LEFT JOIN registry.storage_usage s ON s.tenant_id = t.tenant_id AND s.generation = t.generation;

-- Take calls of a tenant's rates, as many as are left of those wanted, in one round trip: the arrays go together.
-- A window slides: what was taken in the one before still counts by the share of it that a window ending now would cover.
-- The answer has a row a rate: granted now, and how many are left; seconds until the window ends (what was granted must be
-- spent by then), and until another call is free, 0 if one is.
CREATE OR REPLACE FUNCTION tenantry_v1.take_rates(
    tenant text, names text[], amounts bigint[], lengths integer[], wanted bigint[]
) RETURNS TABLE (name text, granted bigint, remaining bigint, ends_in double precision, free_in double precision)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    rate record;
    kept registry.rate_window;
    clock double precision;
    present bigint;
    rest double precision;   -- share of the present window that is still to come
    level double precision;
BEGIN
    PERFORM FROM registry.tenant t WHERE t.tenant_id = tenant;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no tenant of that id' USING ERRCODE = 'no_data_found';
    END IF;
    -- in one order, so that two calls never wait for each other
    FOR rate IN SELECT each.name, greatest(each.amount, 0) AS amount, each.length, greatest(each.wanted, 0) AS wanted
                  FROM unnest(names, amounts, lengths, wanted) AS each (name, amount, length, wanted)
                 WHERE each.name ~ '^[a-z][a-z0-9_.-]{0,79}$' AND each.length BETWEEN 1 AND 31622400
                 ORDER BY each.name LIMIT 100
    LOOP
        INSERT INTO registry.rate_window (tenant_id, name, window_number, seconds, taken, taken_before)
        VALUES (tenant, rate.name, 0, rate.length, 0, 0) ON CONFLICT DO NOTHING;
        SELECT * INTO kept FROM registry.rate_window w WHERE w.tenant_id = tenant AND w.name = rate.name FOR UPDATE;
        clock := extract(epoch FROM clock_timestamp());  -- after the wait for the row: nobody's window is behind
        present := floor(clock / rate.length);
        IF kept.seconds <> rate.length THEN
            -- the plan changed: what counted counts on, so that a change is no way to more
            rest := kept.window_number + 1 - clock / kept.seconds;
            kept.taken_before := CASE WHEN rest > 0 THEN ceil(kept.taken + kept.taken_before * least(1, rest)) ELSE 0 END;
            kept.taken := 0;
        ELSIF kept.window_number = present - 1 THEN
            kept.taken_before := kept.taken;
            kept.taken := 0;
        ELSIF kept.window_number < present THEN
            kept.taken_before := 0;
            kept.taken := 0;
        END IF;
        present := greatest(present, kept.window_number * (kept.seconds = rate.length)::integer);
        rest := least(1, greatest(0, (present + 1) - clock / rate.length));
        level := kept.taken + kept.taken_before * rest;
        granted := greatest(0, least(rate.wanted, floor(rate.amount - level)::bigint));
        kept.taken := kept.taken + granted;
        level := level + granted;
        UPDATE registry.rate_window w
           SET window_number = present, seconds = rate.length, taken = kept.taken, taken_before = kept.taken_before
         WHERE w.tenant_id = tenant AND w.name = rate.name;
        name := rate.name;
        remaining := greatest(0, floor(rate.amount - level)::bigint);
        ends_in := rest * rate.length;
        free_in := CASE
            WHEN remaining > 0 THEN 0
            WHEN rate.amount = 0 THEN ends_in
            -- the window before fades first; then the present one becomes it
            WHEN kept.taken + 1 <= rate.amount AND kept.taken_before > 0
                THEN greatest(0, ends_in - (rate.amount - kept.taken - 1) * rate.length::double precision / kept.taken_before)
            ELSE ends_in + rate.length * greatest(0, 1 - (rate.amount - 1) / greatest(kept.taken, 1)::double precision) END;
        RETURN NEXT;
    END LOOP;
END $$;
REVOKE ALL ON FUNCTION tenantry_v1.take_rates(text, text[], bigint[], integer[], bigint[]) FROM PUBLIC;
