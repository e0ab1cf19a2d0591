-- name: sync_meters
WITH wanted AS (
    SELECT * FROM unnest(%(names)s::text[], %(titles)s::text[], %(aggregations)s::text[], %(units)s::text[])
        AS w(name, title, aggregation, unit)
), gone AS (
    UPDATE registry.meter SET active = false, updated_at = now()
     WHERE active AND name NOT IN (SELECT name FROM wanted)
)
INSERT INTO registry.meter AS m (name, title, aggregation, unit) SELECT name, title, aggregation, unit FROM wanted ORDER BY name
ON CONFLICT (name) DO UPDATE
   SET title = excluded.title, unit = excluded.unit, active = true, updated_at = now()
 WHERE (m.title, m.unit, m.active) IS DISTINCT FROM (excluded.title, excluded.unit, true)
-- name: meters
SELECT name, title, aggregation, unit, active FROM registry.meter ORDER BY name
-- name: plan
WITH due AS (
    SELECT h.*, p.starts_at, p.ends_at
      FROM registry.usage_hour h
      LEFT JOIN registry.usage_period p ON p.tenant_id = h.tenant_id AND p.customer_id = h.customer_id
     WHERE h.quantity IS DISTINCT FROM h.planned AND h.hour < %(now)s
       AND registry.usage_bucket_end(h.hour, p.starts_at, p.ends_at) <= %(now)s::timestamptz - %(settle)s::interval
       -- one open report at a time: what comes meanwhile is in the next
       AND NOT EXISTS (SELECT FROM registry.usage_report r
                        WHERE r.tenant_id = h.tenant_id AND r.customer_id = h.customer_id AND r.meter = h.meter
                          AND r.hour = h.hour AND r.state IN ('planned', 'sending'))
     ORDER BY h.hour LIMIT %(limit)s
       FOR UPDATE OF h SKIP LOCKED
), sized AS (
    SELECT d.tenant_id, d.customer_id, d.meter, d.hour,
           (SELECT coalesce(max(r.sequence), 0) + 1 FROM registry.usage_report r
             WHERE r.tenant_id = d.tenant_id AND r.customer_id = d.customer_id AND r.meter = d.meter AND r.hour = d.hour)
               AS sequence,
           CASE d.aggregation WHEN 'last' THEN d.quantity
                ELSE greatest(least(d.quantity - d.planned, %(largest)s::numeric), -%(largest)s::numeric) END AS value,
           d.aggregation,
           -- Stripe takes what is at most 35 days old, and bills what belongs to a period until its invoice is final
           date_trunc('second', greatest(d.last_at, %(oldest)s::timestamptz,
                                         CASE WHEN d.starts_at < %(final)s::timestamptz THEN d.starts_at END)) AS at
      FROM due d
), inserted AS (
    INSERT INTO registry.usage_report (tenant_id, customer_id, meter, hour, sequence, identifier, value, at, state)
    SELECT tenant_id, customer_id, meter, hour, sequence,
           encode(sha256(convert_to(concat_ws('/', %(salt)s::text, tenant_id, customer_id, meter,
                                              extract(epoch FROM hour)::bigint, sequence), 'UTF8')), 'hex'),
           value, at, 'planned'
      FROM sized
    RETURNING tenant_id, customer_id, meter, hour, value
)
UPDATE registry.usage_hour h
   SET planned = CASE h.aggregation WHEN 'last' THEN i.value ELSE h.planned + i.value END
  FROM inserted i
 WHERE h.tenant_id = i.tenant_id AND h.customer_id = i.customer_id AND h.meter = i.meter AND h.hour = i.hour
-- name: claim
UPDATE registry.usage_report
   SET state = 'sending', attempts = attempts + 1, first_attempt_at = coalesce(first_attempt_at, %(now)s),
       last_attempt_at = %(now)s
 WHERE report_id IN (
       SELECT report_id FROM registry.usage_report
        WHERE (state = 'planned'
               OR state = 'sending' AND first_attempt_at > %(recognised_since)s AND last_attempt_at <= %(retry_before)s)
          AND meter <> ALL (%(skipped)s)
        ORDER BY report_id LIMIT %(limit)s)
RETURNING report_id, tenant_id, customer_id, meter, hour, identifier, value, at, attempts
-- name: settle
UPDATE registry.usage_report r
   SET state = s.state, error = s.error, settled_at = CASE WHEN s.state IN ('sent', 'refused') THEN %(now)s END,
       first_attempt_at = CASE WHEN s.state = 'planned' THEN NULL ELSE r.first_attempt_at END
  FROM unnest(%(ids)s::bigint[], %(states)s::text[], %(errors)s::text[]) AS s(report_id, state, error)
 WHERE r.report_id = s.report_id AND r.state = 'sending'
-- name: lost
SELECT r.tenant_id, r.customer_id, r.meter, m.aggregation, date_trunc('hour', r.at, 'UTC') AS hour
  FROM registry.usage_report r JOIN registry.meter m ON m.name = r.meter
 WHERE r.state = 'sending' AND r.first_attempt_at <= %(recognised_since)s
 GROUP BY 1, 2, 3, 4, 5
HAVING max(r.last_attempt_at) <= %(visible_before)s
 ORDER BY 2, 3, 5
-- name: told
SELECT date_trunc('hour', r.at, 'UTC') AS hour,
       coalesce(sum(r.value) FILTER (WHERE r.state IN ('sent', 'confirmed')), 0) AS known,
       coalesce(sum(r.value) FILTER (WHERE r.state = 'sending'), 0) AS unknown,
       count(*) FILTER (WHERE r.state = 'sending') AS unknowns,
       count(*) FILTER (WHERE r.state IN ('sent', 'confirmed')) AS knowns,
       (array_agg(r.value ORDER BY r.at DESC, r.report_id DESC) FILTER (WHERE r.state IN ('sent', 'confirmed')))[1] AS last,
       max(coalesce(r.last_attempt_at, r.settled_at)) AS touched_at
  FROM registry.usage_report r
 WHERE r.customer_id = %(customer_id)s AND r.meter = %(meter)s AND r.at >= %(since)s AND r.at < %(until)s
   AND r.state IN ('sending', 'sent', 'confirmed')
 GROUP BY 1 ORDER BY 1
-- name: confirm
UPDATE registry.usage_report SET state = 'confirmed', settled_at = %(now)s, error = NULL
 WHERE customer_id = %(customer_id)s AND meter = %(meter)s AND at >= %(since)s AND at < %(until)s
   AND state = ANY (%(states)s)
-- name: abandon
WITH gone AS (
    UPDATE registry.usage_report SET state = 'abandoned', settled_at = %(now)s, error = coalesce(error, %(why)s)
     WHERE customer_id = %(customer_id)s AND meter = %(meter)s AND at >= %(since)s AND at < %(until)s
       AND state = ANY (%(states)s)
    RETURNING tenant_id, customer_id, meter, hour, value
), summed AS (
    SELECT tenant_id, customer_id, meter, hour, sum(value) AS value FROM gone GROUP BY 1, 2, 3, 4
)
UPDATE registry.usage_hour h SET planned = CASE h.aggregation WHEN 'last' THEN NULL ELSE h.planned - s.value END
  FROM summed s
 WHERE h.tenant_id = s.tenant_id AND h.customer_id = s.customer_id AND h.meter = s.meter AND h.hour = s.hour
-- name: observe
WITH bucket AS (
    SELECT h.* FROM registry.usage_hour h
     WHERE h.customer_id = %(customer_id)s AND h.meter = %(meter)s
       AND h.hour = (SELECT r.hour FROM registry.usage_report r
                      WHERE r.customer_id = %(customer_id)s AND r.meter = %(meter)s AND r.at >= %(since)s AND r.at < %(until)s
                      ORDER BY r.report_id DESC LIMIT 1)
       FOR UPDATE
), noted AS (
    INSERT INTO registry.usage_report (tenant_id, customer_id, meter, hour, sequence, value, at, state, settled_at, error)
    SELECT b.tenant_id, b.customer_id, b.meter, b.hour,
           (SELECT coalesce(max(r.sequence), 0) + 1 FROM registry.usage_report r
             WHERE r.tenant_id = b.tenant_id AND r.customer_id = b.customer_id AND r.meter = b.meter AND r.hour = b.hour),
           %(value)s, %(since)s, 'confirmed', %(now)s, %(why)s
      FROM bucket b
    RETURNING tenant_id, customer_id, meter, hour, value
)
UPDATE registry.usage_hour h SET planned = h.planned + n.value
  FROM noted n
 WHERE h.tenant_id = n.tenant_id AND h.customer_id = n.customer_id AND h.meter = n.meter AND h.hour = n.hour
   AND h.aggregation <> 'last'
-- name: unconfirmed
SELECT r.tenant_id, r.customer_id, r.meter, m.aggregation, min(r.at) AS since, max(r.at) AS until
  FROM registry.usage_report r JOIN registry.meter m ON m.name = r.meter
 WHERE r.state IN ('sent', 'confirmed', 'refused') AND r.at >= %(since)s
   AND (%(tenant_id)s::text IS NULL OR r.tenant_id = %(tenant_id)s)
 GROUP BY 1, 2, 3, 4
HAVING bool_or(r.state <> 'confirmed') OR %(everything)s
 ORDER BY 1, 3
-- name: find
INSERT INTO registry.usage_finding AS f (tenant_id, customer_id, meter, hour, ours, stripe, found_at)
VALUES (%(tenant_id)s, %(customer_id)s, %(meter)s, %(since)s, %(ours)s, %(stripe)s, %(now)s)
ON CONFLICT (customer_id, meter, hour) DO UPDATE SET ours = excluded.ours, stripe = excluded.stripe
-- name: unfind
DELETE FROM registry.usage_finding
 WHERE customer_id = %(customer_id)s AND meter = %(meter)s AND hour >= %(since)s AND hour < %(until)s
   AND hour <> ALL (%(except_)s)
-- name: findings
SELECT tenant_id, customer_id, meter, hour, ours, stripe, found_at FROM registry.usage_finding
 WHERE %(tenant_id)s::text IS NULL OR tenant_id = %(tenant_id)s ORDER BY tenant_id, meter, hour
-- name: refused
SELECT report_id, tenant_id, customer_id, meter, hour, value, at, error FROM registry.usage_report
 WHERE state = 'refused' AND (%(tenant_id)s::text IS NULL OR tenant_id = %(tenant_id)s) ORDER BY report_id
-- name: replan_refused
WITH gone AS (
    UPDATE registry.usage_report SET state = 'abandoned', settled_at = %(now)s
     WHERE state = 'refused' AND (%(tenant_id)s::text IS NULL OR tenant_id = %(tenant_id)s)
       AND (%(ids)s::bigint[] IS NULL OR report_id = ANY (%(ids)s))
    RETURNING tenant_id, customer_id, meter, hour, value
), summed AS (
    SELECT tenant_id, customer_id, meter, hour, sum(value) AS value FROM gone GROUP BY 1, 2, 3, 4
)
UPDATE registry.usage_hour h SET planned = CASE h.aggregation WHEN 'last' THEN NULL ELSE h.planned - s.value END
  FROM summed s
 WHERE h.tenant_id = s.tenant_id AND h.customer_id = s.customer_id AND h.meter = s.meter AND h.hour = s.hour
-- name: stale_periods
SELECT t.tenant_id, t.stripe_customer_id, t.subscription_id
  FROM registry.tenant t LEFT JOIN registry.usage_period p ON p.tenant_id = t.tenant_id AND p.customer_id = t.stripe_customer_id
 WHERE t.stripe_customer_id IS NOT NULL AND t.subscription_id IS NOT NULL
   AND EXISTS (SELECT FROM registry.usage_hour h
                WHERE h.tenant_id = t.tenant_id AND h.customer_id = t.stripe_customer_id AND h.hour >= %(active_since)s)
   AND (p.read_at IS NULL OR p.read_at < %(read_before)s OR p.ends_at <= %(now)s AND p.read_at < %(ended_before)s)
 ORDER BY t.tenant_id
-- name: put_period
INSERT INTO registry.usage_period (tenant_id, customer_id, starts_at, ends_at, interval, read_at)
VALUES (%(tenant_id)s, %(customer_id)s, %(starts_at)s, %(ends_at)s, %(interval)s, %(now)s)
ON CONFLICT (tenant_id) DO UPDATE SET customer_id = excluded.customer_id, starts_at = excluded.starts_at,
       ends_at = excluded.ends_at, interval = excluded.interval, read_at = excluded.read_at
-- name: used_in_period
WITH changed AS (
    SELECT DISTINCT tenant_id, meter FROM registry.usage_entry
     WHERE received_at >= coalesce(%(since)s::timestamptz, '-infinity')
)
SELECT h.tenant_id, t.plan, h.meter, p.interval, p.starts_at, p.ends_at, t.limits,
       CASE h.aggregation WHEN 'last' THEN (array_agg(h.quantity ORDER BY h.hour DESC))[1] ELSE sum(h.quantity) END AS used
  FROM changed c
  JOIN registry.usage_period p ON p.tenant_id = c.tenant_id
  JOIN registry.tenant t ON t.tenant_id = p.tenant_id AND t.stripe_customer_id = p.customer_id
  JOIN registry.usage_hour h ON h.tenant_id = p.tenant_id AND h.customer_id = p.customer_id AND h.meter = c.meter
                            -- as it is billed: by its last moment; a bucket from before the period was known has both
                            AND h.hour >= date_trunc('hour', p.starts_at, 'UTC') AND h.hour < p.ends_at
                            AND h.last_at >= p.starts_at AND h.last_at < p.ends_at
 WHERE t.plan IS NOT NULL
 GROUP BY h.tenant_id, t.plan, h.meter, h.aggregation, p.interval, p.starts_at, p.ends_at, t.limits
-- name: alert
INSERT INTO registry.usage_alert (tenant_id, meter, period_start, threshold, used, included)
VALUES (%(tenant_id)s, %(meter)s, %(period_start)s, %(threshold)s, %(used)s, %(included)s)
ON CONFLICT DO NOTHING
-- name: carry_gauges
WITH latest AS (
    SELECT DISTINCT ON (h.tenant_id, h.customer_id, h.meter) h.*
      FROM registry.usage_hour h JOIN registry.meter m ON m.name = h.meter AND m.active
      JOIN registry.tenant t ON t.tenant_id = h.tenant_id AND t.stripe_customer_id = h.customer_id
     WHERE h.aggregation = 'last' AND t.subscription_id IS NOT NULL AND t.access <> 'deleted'
     ORDER BY h.tenant_id, h.customer_id, h.meter, h.hour DESC
), carried AS (
    SELECT array_agg(ROW(tenant_id, meter, 'carried/' || to_char(%(day)s AT TIME ZONE 'UTC', 'YYYY-MM-DD'), 'carried',
                         customer_id, date_trunc('hour', %(day)s, 'UTC'), 1, quantity, quantity, %(day)s, NULL,
                         now())::registry.usage_entry) AS entries
      FROM latest WHERE hour < date_trunc('hour', %(day)s, 'UTC')
)
SELECT coalesce((SELECT registry.add_usage(entries) FROM carried WHERE entries IS NOT NULL), 0)
-- name: usage
SELECT h.meter, h.aggregation,
       CASE h.aggregation WHEN 'last' THEN (array_agg(h.quantity ORDER BY h.hour DESC))[1] ELSE sum(h.quantity) END AS recorded,
       sum(h.records)::bigint AS records
  FROM registry.usage_hour h
 WHERE h.tenant_id = %(tenant_id)s AND h.last_at >= %(since)s AND h.last_at < %(until)s
 GROUP BY h.meter, h.aggregation ORDER BY h.meter
-- name: hours
SELECT h.meter, h.hour, h.quantity, h.records, h.planned FROM registry.usage_hour h
 WHERE h.tenant_id = %(tenant_id)s AND h.last_at >= %(since)s AND h.last_at < %(until)s ORDER BY h.meter, h.hour
-- name: reported
SELECT r.meter, r.state, count(*)::bigint AS reports,
       CASE m.aggregation WHEN 'last' THEN (array_agg(r.value ORDER BY r.at DESC, r.report_id DESC))[1]
                          ELSE sum(r.value) END AS value
  FROM registry.usage_report r JOIN registry.meter m ON m.name = r.meter
  JOIN registry.usage_hour h USING (tenant_id, customer_id, meter, hour)
 WHERE r.tenant_id = %(tenant_id)s AND h.last_at >= %(since)s AND h.last_at < %(until)s
 GROUP BY r.meter, r.state, m.aggregation
-- name: late
SELECT meter, kind, count(*)::bigint AS entries, sum(total) AS total FROM registry.usage_entry
 WHERE tenant_id = %(tenant_id)s AND hour >= %(since)s AND hour < %(until)s
   AND (kind = 'correction' OR kind = 'usage' AND received_at > date_trunc('hour', hour, 'UTC') + interval '1 hour' + %(settle)s::interval)
 GROUP BY meter, kind
-- name: period
SELECT starts_at, ends_at, interval FROM registry.usage_period WHERE tenant_id = %(tenant_id)s
-- name: quarantined
SELECT tenant_id, meter, key, records, total::text AS total, last_value::text AS last_value, at, reason, received_at
  FROM registry.usage_quarantine
 WHERE (%(tenant_id)s::text IS NULL OR tenant_id = %(tenant_id)s) ORDER BY received_at DESC, key LIMIT %(limit)s
-- name: quarantine_count
SELECT reason, count(*)::bigint FROM registry.usage_quarantine
 WHERE %(tenant_id)s::text IS NULL OR tenant_id = %(tenant_id)s GROUP BY reason ORDER BY reason
-- name: release
WITH taken AS (
    DELETE FROM registry.usage_quarantine WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM registry.usage_quarantine
         WHERE (%(tenant_id)s::text IS NULL OR tenant_id = %(tenant_id)s)
           AND (%(keys)s::text[] IS NULL OR key = ANY (%(keys)s))
           AND (tenant_id, meter, key) > (%(after_tenant)s, %(after_meter)s, %(after_key)s)
         ORDER BY tenant_id, meter, key LIMIT %(limit)s FOR UPDATE))
    RETURNING *
), last AS (
    SELECT tenant_id, meter, key FROM taken ORDER BY tenant_id DESC, meter DESC, key DESC LIMIT 1
)
SELECT (SELECT count(*) FROM taken)::bigint AS size, r.accepted, r.duplicates, r.quarantined, l.tenant_id, l.meter, l.key
  FROM (SELECT array_agg(key) AS keys, array_agg(tenant_id) AS tenants, array_agg(meter) AS meters,
               array_agg(records) AS counts, array_agg(total) AS totals, array_agg(last_value) AS lasts,
               array_agg(at) AS ats FROM taken) t
  LEFT JOIN last l ON true
 CROSS JOIN LATERAL tenantry_v1.record_usage(t.keys, t.tenants, t.meters, t.counts, t.totals, t.lasts, t.ats) r
-- name: drop_quarantined
DELETE FROM registry.usage_quarantine
 WHERE (%(tenant_id)s::text IS NULL OR tenant_id = %(tenant_id)s) AND (%(keys)s::text[] IS NULL OR key = ANY (%(keys)s))
-- name: correct
SELECT registry.add_usage(ARRAY[ROW(%(tenant_id)s, %(meter)s, %(key)s, 'correction', %(customer_id)s, %(hour)s, %(records)s,
       %(total)s, %(last_value)s, greatest(%(hour)s, (SELECT h.last_at FROM registry.usage_hour h
           WHERE h.tenant_id = %(tenant_id)s AND h.customer_id = %(customer_id)s AND h.meter = %(meter)s AND h.hour = %(hour)s)),
       %(note)s, now())::registry.usage_entry])
-- name: state
SELECT (SELECT count(*) FROM registry.usage_hour WHERE quantity IS DISTINCT FROM planned) AS pending_hours,
       (SELECT count(*) FROM registry.usage_report WHERE state = 'planned') AS planned,
       (SELECT count(*) FROM registry.usage_report WHERE state = 'sending') AS unknown,
       (SELECT count(*) FROM registry.usage_report WHERE state = 'refused') AS refused,
       (SELECT coalesce(extract(epoch FROM now() - min(hour)), 0)::float8 FROM registry.usage_hour
         WHERE quantity IS DISTINCT FROM planned) AS oldest_s,
       (SELECT count(*) FROM registry.usage_quarantine) AS quarantined,
       (SELECT count(*) FROM registry.usage_finding) AS findings,
       (SELECT count(*) FROM registry.usage_alert) AS alerts
-- name: drifted
SELECT h.tenant_id, h.customer_id, h.meter, h.hour, h.quantity, e.quantity AS ledger
  FROM registry.usage_hour h
  JOIN LATERAL (SELECT CASE h.aggregation WHEN 'sum' THEN coalesce(sum(x.total), 0) ELSE coalesce(sum(x.records), 0) END AS quantity
                  FROM registry.usage_entry x
                 WHERE x.tenant_id = h.tenant_id AND x.meter = h.meter AND x.customer_id = h.customer_id AND x.hour = h.hour) e
       ON true
 WHERE h.aggregation <> 'last' AND h.hour >= %(since)s AND e.quantity <> h.quantity
-- name: prune_entries
DELETE FROM registry.usage_entry WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM registry.usage_entry WHERE received_at < %(before)s LIMIT %(limit)s))
-- name: prune_quarantine
DELETE FROM registry.usage_quarantine WHERE received_at < %(before)s
-- name: prune_hours
DELETE FROM registry.usage_hour WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM registry.usage_hour
     WHERE hour < %(before)s AND quantity IS NOT DISTINCT FROM planned LIMIT %(limit)s))
-- name: prune_reports
DELETE FROM registry.usage_report WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM registry.usage_report r
     WHERE at < %(before)s AND state IN ('confirmed', 'abandoned')
       AND NOT EXISTS (SELECT FROM registry.usage_hour h
                        WHERE h.tenant_id = r.tenant_id AND h.customer_id = r.customer_id AND h.meter = r.meter
                          AND h.hour = r.hour)
     LIMIT %(limit)s))
-- name: prune_alerts
DELETE FROM registry.usage_alert WHERE period_start < %(before)s
