-- Usage: what applications recorded, what Stripe was told of it, and what Stripe said it knows. docs/metering.md

-- The meters of the catalogue, as `plans.toml` has them; what left it stays, inactive.
CREATE TABLE IF NOT EXISTS registry.meter (
    name        text PRIMARY KEY,           -- Stripe's event_name
    title       text NOT NULL,
    aggregation text NOT NULL CHECK (aggregation IN ('sum', 'count', 'last')),
    unit        text NOT NULL DEFAULT '',
    active      boolean NOT NULL DEFAULT true,
    updated_at  timestamptz NOT NULL DEFAULT now()
);

-- The ledger: entries are added and never changed. A key is known for as long as its entry is kept.
CREATE TABLE IF NOT EXISTS registry.usage_entry (
    tenant_id   text NOT NULL,
    meter       text NOT NULL,
    key         text NOT NULL,              -- the caller's idempotency key, or of an SDK's segment
    kind        text NOT NULL DEFAULT 'usage' CHECK (kind IN ('usage', 'correction', 'carried')),
    customer_id text NOT NULL,              -- who is billed: the tenant's Stripe customer when it was recorded
    hour        timestamptz NOT NULL,       -- begin of the hour (UTC), or of the billing period that begins in it
    records     bigint NOT NULL,
    total       numeric NOT NULL,
    last_value  numeric,
    last_at     timestamptz NOT NULL,
    note        text,                       -- who corrected it and why
    received_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, meter, key)
);
CREATE INDEX IF NOT EXISTS usage_entry_received ON registry.usage_entry USING brin (received_at);

-- What can't be counted, and why. `tenantry usage quarantined`
CREATE TABLE IF NOT EXISTS registry.usage_quarantine (
    tenant_id   text NOT NULL,
    meter       text NOT NULL,
    key         text NOT NULL,
    records     bigint NOT NULL,
    total       numeric,                    -- may be NaN: it is kept as it came
    last_value  numeric,
    at          double precision,           -- Unix seconds
    reason      text NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, meter, key)
);

-- The sum of the ledger by hour. `quantity` is what the meter's aggregation makes of it, `planned` what reports say of it.
CREATE TABLE IF NOT EXISTS registry.usage_hour (
    tenant_id   text NOT NULL,
    customer_id text NOT NULL,
    meter       text NOT NULL,
    hour        timestamptz NOT NULL,
    aggregation text NOT NULL,
    records     bigint NOT NULL,
    total       numeric NOT NULL,
    last_value  numeric,
    last_at     timestamptz NOT NULL,
    quantity    numeric NOT NULL,
    planned     numeric,                    -- null: nothing yet, for meters whose last value counts
    PRIMARY KEY (tenant_id, customer_id, meter, hour)
);
CREATE INDEX IF NOT EXISTS usage_hour_pending ON registry.usage_hour (hour) WHERE quantity IS DISTINCT FROM planned;

-- The ledger of what Stripe was told: a meter event each. An unknown outcome is `sending`.
CREATE TABLE IF NOT EXISTS registry.usage_report (
    report_id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id        text NOT NULL,
    customer_id      text NOT NULL,
    meter            text NOT NULL,
    hour             timestamptz NOT NULL,
    sequence         integer NOT NULL,
    identifier       text UNIQUE,           -- null: no event of ours, but what Stripe turned out to have
    value            numeric NOT NULL,
    at               timestamptz NOT NULL,  -- the event's timestamp
    state            text NOT NULL CHECK (state IN ('planned', 'sending', 'sent', 'confirmed', 'refused', 'abandoned')),
    attempts         integer NOT NULL DEFAULT 0,
    first_attempt_at timestamptz,           -- Stripe recognises the identifier for 24 hours from then on, not longer
    last_attempt_at  timestamptz,
    settled_at       timestamptz,
    error            text,
    UNIQUE (tenant_id, customer_id, meter, hour, sequence)
);
CREATE INDEX IF NOT EXISTS usage_report_open ON registry.usage_report (report_id) WHERE state IN ('planned', 'sending');
CREATE INDEX IF NOT EXISTS usage_report_stream ON registry.usage_report (customer_id, meter, at);
CREATE INDEX IF NOT EXISTS usage_report_unconfirmed ON registry.usage_report (at) WHERE state = 'sent';

-- The present billing period of a tenant, as its subscription had it when it was read.
CREATE TABLE IF NOT EXISTS registry.usage_period (
    tenant_id   text PRIMARY KEY,
    customer_id text NOT NULL,
    starts_at   timestamptz NOT NULL,
    ends_at     timestamptz NOT NULL,
    interval    text NOT NULL,              -- month or year
    read_at     timestamptz NOT NULL
);

-- Which thresholds of what its plan includes a tenant has passed in a period; a row each, so that it is said once.
CREATE TABLE IF NOT EXISTS registry.usage_alert (
    tenant_id    text NOT NULL,
    meter        text NOT NULL,
    period_start timestamptz NOT NULL,
    threshold    integer NOT NULL,          -- per cent
    used         numeric NOT NULL,
    included     numeric NOT NULL,
    at           timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, meter, period_start, threshold)
);

-- Where Stripe's totals differ from ours.
CREATE TABLE IF NOT EXISTS registry.usage_finding (
    tenant_id   text NOT NULL,
    customer_id text NOT NULL,
    meter       text NOT NULL,
    hour        timestamptz NOT NULL,       -- UTC hour of the events' timestamps
    ours        numeric NOT NULL,
    stripe      numeric NOT NULL,
    found_at    timestamptz NOT NULL,
    PRIMARY KEY (customer_id, meter, hour)
);

-- Begin of the hour (UTC) of a moment, or of the billing period that begins in this hour before it: no bucket lies in
-- two periods, so that what is used before a period's end is billed with it.
CREATE OR REPLACE FUNCTION registry.usage_bucket(at timestamptz, starts_at timestamptz, ends_at timestamptz)
RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT greatest(date_trunc('hour', at, 'UTC'),
                    CASE WHEN at >= ends_at THEN ends_at WHEN at >= starts_at THEN starts_at END)
$$;

-- When no more usage is to come for a bucket.
CREATE OR REPLACE FUNCTION registry.usage_bucket_end(bucket timestamptz, starts_at timestamptz, ends_at timestamptz)
RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT least(date_trunc('hour', bucket, 'UTC') + interval '1 hour',
                 CASE WHEN starts_at > bucket THEN starts_at END, CASE WHEN ends_at > bucket THEN ends_at END)
$$;

-- Adds entries to the sums of their hours: the only place where `quantity` is computed.
CREATE OR REPLACE FUNCTION registry.add_usage(entries registry.usage_entry[]) RETURNS bigint LANGUAGE sql AS $$
    WITH added AS (
        INSERT INTO registry.usage_entry
        SELECT * FROM unnest(entries) e ORDER BY e.tenant_id, e.meter, e.key
        ON CONFLICT DO NOTHING
        RETURNING tenant_id, customer_id, meter, hour, records, total, last_value, last_at, key
    ), summed AS (
        SELECT a.tenant_id, a.customer_id, a.meter, a.hour, m.aggregation, sum(a.records)::bigint AS records,
               sum(a.total) AS total, (array_agg(a.last_value ORDER BY a.last_at DESC, a.key DESC)
                                       FILTER (WHERE a.last_value IS NOT NULL))[1] AS last_value,
               max(a.last_at) AS last_at
          FROM added a JOIN registry.meter m ON m.name = a.meter
         GROUP BY 1, 2, 3, 4, 5
    ), rolled AS (
        INSERT INTO registry.usage_hour AS h
               (tenant_id, customer_id, meter, hour, aggregation, records, total, last_value, last_at, quantity, planned)
        SELECT tenant_id, customer_id, meter, hour, aggregation, records, total, last_value, last_at,
               CASE aggregation WHEN 'sum' THEN total WHEN 'count' THEN records ELSE coalesce(last_value, 0) END,
               CASE aggregation WHEN 'last' THEN NULL ELSE 0 END
          FROM summed ORDER BY tenant_id, customer_id, meter, hour
        ON CONFLICT (tenant_id, customer_id, meter, hour) DO UPDATE
           SET records = h.records + excluded.records,
               total = h.total + excluded.total,
               last_value = CASE WHEN excluded.last_value IS NOT NULL AND excluded.last_at >= h.last_at
                                 THEN excluded.last_value ELSE coalesce(h.last_value, excluded.last_value) END,
               last_at = greatest(h.last_at, excluded.last_at),
               quantity = CASE h.aggregation
                          WHEN 'sum' THEN h.quantity + excluded.total
                          WHEN 'count' THEN h.quantity + excluded.records
                          ELSE CASE WHEN excluded.last_value IS NOT NULL AND excluded.last_at >= h.last_at
                                    THEN excluded.last_value ELSE h.quantity END END
        RETURNING 1
    )
    SELECT count(*) FROM added, (SELECT count(*) FROM rolled) AS done
$$;

-- The SDK's contract. One element of each array is a record, or what an SDK's segment sums up: how many records, their
-- total, the last value, and when that was (Unix seconds). What can't be counted is quarantined; nothing is refused.
CREATE OR REPLACE FUNCTION tenantry_v1.record_usage(
    keys text[], tenants text[], meters text[], counts bigint[], totals numeric[], lasts numeric[], ats double precision[],
    OUT accepted bigint, OUT duplicates bigint, OUT quarantined bigint
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    size integer := coalesce(cardinality(keys), 0);
    present double precision := extract(epoch FROM now());
    good registry.usage_entry[];
    bad bigint;
BEGIN
    IF size > 10000 OR size <> ANY (ARRAY[coalesce(cardinality(tenants), 0), coalesce(cardinality(meters), 0),
                                          coalesce(cardinality(counts), 0), coalesce(cardinality(totals), 0),
                                          coalesce(cardinality(lasts), 0), coalesce(cardinality(ats), 0)]) THEN
        RAISE EXCEPTION 'the arrays of a batch must be of one length, 10000 at most'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    WITH given AS (
        SELECT DISTINCT ON (u.tenant_id, u.meter, u.key) u.*
          FROM (SELECT left(coalesce(r.tenant_id, ''), 100) AS tenant_id, left(coalesce(r.meter, ''), 100) AS meter,
                       coalesce(r.key, '') AS key, coalesce(r.records, 0) AS records, r.total, r.last_value, r.at
                  FROM unnest(keys, tenants, meters, counts, totals, lasts, ats)
                       AS r(key, tenant_id, meter, records, total, last_value, at)) u
    ), judged AS (
        SELECT g.*, t.stripe_customer_id AS customer_id, p.starts_at, p.ends_at,
               CASE
               WHEN m.name IS NULL THEN 'unknown_meter'
               WHEN t.tenant_id IS NULL THEN 'unknown_tenant'
               WHEN t.stripe_customer_id IS NULL THEN 'no_customer'
               WHEN g.key = '' OR length(g.key) > 200 THEN 'invalid_key'
               WHEN g.records < 1 OR g.records > 1000000000 THEN 'invalid_count'
               WHEN g.total IS NULL OR g.last_value IS NULL OR g.total IN ('NaN', 'Infinity', '-Infinity')
                    OR g.last_value IN ('NaN', 'Infinity', '-Infinity') THEN 'not_a_number'
               WHEN g.total < 0 OR g.last_value < 0 THEN 'negative'
               WHEN g.total <> trunc(g.total) OR g.last_value <> trunc(g.last_value) THEN 'not_a_whole_number'
               WHEN g.last_value > 1000000000000 OR g.total > 1000000000000 * g.records THEN 'too_large'
               WHEN g.at IS NULL OR g.at = 'NaN' THEN 'invalid_timestamp'
               WHEN g.at < present - 34 * 86400 THEN 'too_old'
               WHEN g.at > present + 300 THEN 'in_the_future'
               END AS reason
          FROM given g
          LEFT JOIN registry.meter m ON m.name = g.meter AND m.active
          LEFT JOIN registry.tenant t ON t.tenant_id = g.tenant_id
          LEFT JOIN registry.usage_period p ON p.tenant_id = t.tenant_id AND p.customer_id = t.stripe_customer_id
    ), kept AS (
        INSERT INTO registry.usage_quarantine (tenant_id, meter, key, records, total, last_value, at, reason)
        SELECT j.tenant_id, j.meter, left(j.key, 1000), j.records, j.total, j.last_value, j.at, j.reason
          FROM judged j
         WHERE j.reason IS NOT NULL
           -- it was counted when it came first: the meter, or the tenant's customer, went since
           AND NOT EXISTS (SELECT FROM registry.usage_entry e
                            WHERE e.tenant_id = j.tenant_id AND e.meter = j.meter AND e.key = j.key)
         ORDER BY 1, 2, 3
        ON CONFLICT DO NOTHING
        RETURNING 1
    )
    SELECT (SELECT array_agg(ROW(j.tenant_id, j.meter, j.key, 'usage', j.customer_id,
                                 registry.usage_bucket(to_timestamp(j.at), j.starts_at, j.ends_at), j.records, j.total,
                                 j.last_value, to_timestamp(j.at), NULL, now())::registry.usage_entry)
              FROM judged j WHERE j.reason IS NULL),
           (SELECT count(*) FROM kept)
      INTO good, bad;
    accepted := CASE WHEN good IS NULL THEN 0 ELSE registry.add_usage(good) END;
    quarantined := bad;
    duplicates := size - accepted - quarantined;
END $$;
REVOKE ALL ON FUNCTION
    tenantry_v1.record_usage(text[], text[], text[], bigint[], numeric[], numeric[], double precision[]) FROM PUBLIC;

CREATE OR REPLACE VIEW tenantry_v1.meter AS SELECT name, title, aggregation, unit FROM registry.meter WHERE active;
