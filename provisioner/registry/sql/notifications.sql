-- name: tenant
SELECT t.tenant_id, t.generation, t.state, t.stripe_customer_id, t.plan, t.access, t.access_since, t.access_reason,
       t.retain_until, t.ready_at, p.generation AS seen_generation, p.state AS seen_state, p.recipient AS seen_recipient,
       coalesce((SELECT max(entry_id) FROM registry.timeline WHERE tenant_id = t.tenant_id), 0) AS newest_entry,
       coalesce(t.ready_at > now() - interval '2 days', false) AS fresh
  FROM registry.tenant t LEFT JOIN registry.notification_profile p USING (tenant_id)
 WHERE t.tenant_id = %(tenant_id)s
-- name: newest_entry
SELECT coalesce(max(entry_id), 0) FROM registry.timeline
-- name: to_look_at
WITH fresh AS (
    SELECT tenant_id, max(entry_id) AS entry_id FROM registry.timeline
     WHERE entry_id > %(after)s AND kind <> 'message' GROUP BY tenant_id
)
SELECT t.tenant_id FROM registry.tenant t
  LEFT JOIN registry.notification_profile p USING (tenant_id) LEFT JOIN fresh f USING (tenant_id)
 WHERE p.tenant_id IS NULL
    OR CASE WHEN p.retry_at IS NOT NULL THEN p.retry_at <= clock_timestamp()
            ELSE p.look_at <= %(now)s OR f.entry_id > p.seen_entry END
 ORDER BY p.look_at NULLS FIRST, t.tenant_id LIMIT %(limit)s
-- name: lock_tenant
SELECT pg_advisory_xact_lock(hashtextextended('notifications/' || %(tenant_id)s, 0))
-- name: put_profile
INSERT INTO registry.notification_profile (tenant_id, generation, state, recipient, seen_entry, looked_at, look_at)
VALUES (%(tenant_id)s, %(generation)s, %(state)s, %(recipient)s, %(seen_entry)s, %(now)s, %(look_at)s)
ON CONFLICT (tenant_id) DO UPDATE
   SET generation = excluded.generation, state = excluded.state, recipient = excluded.recipient,
       seen_entry = excluded.seen_entry, looked_at = excluded.looked_at, look_at = excluded.look_at, failure = NULL,
       attempts = 0, retry_at = NULL
-- name: record_failed_look
INSERT INTO registry.notification_profile AS p (tenant_id, generation, state, looked_at, look_at, failure, attempts, retry_at)
VALUES (%(tenant_id)s, 0, '', %(now)s, %(now)s, %(failure)s, 1, clock_timestamp() + interval '1 minute')
ON CONFLICT (tenant_id) DO UPDATE
   SET failure = excluded.failure, attempts = p.attempts + 1,
       retry_at = clock_timestamp() + interval '1 minute' * least(2 ^ least(p.attempts, 10), 360)
RETURNING attempts
-- name: put
INSERT INTO registry.notification AS n (tenant_id, generation, kind, occasion, fields, recipient, send_after, expires_at)
VALUES (%(tenant_id)s, %(generation)s, %(kind)s, %(occasion)s, %(fields)s, %(recipient)s, %(send_after)s, %(expires_at)s)
ON CONFLICT (tenant_id, generation, kind, occasion) DO UPDATE
   SET status = 'pending', fields = excluded.fields, recipient = excluded.recipient, send_after = excluded.send_after,
       expires_at = excluded.expires_at, retry_at = NULL, reason = NULL
 WHERE n.status = 'withdrawn'
-- name: readdress
UPDATE registry.notification SET recipient = %(recipient)s
 WHERE tenant_id = %(tenant_id)s AND status = 'pending' AND recipient <> %(recipient)s
-- name: withdraw
UPDATE registry.notification SET status = 'withdrawn', reason = 'what it was about is over'
 WHERE tenant_id = %(tenant_id)s AND status = 'pending' AND kind = ANY (%(conditional)s)
   AND (generation <> %(generation)s
        OR NOT (kind, occasion) IN (SELECT * FROM unnest(%(kinds)s::text[], %(occasions)s::text[])))
-- name: lock_sending
SELECT pg_advisory_xact_lock(7203114903)
-- name: attempts_in_a_minute
SELECT count(*) FROM registry.notification WHERE attempted_at > clock_timestamp() - interval '1 minute'
-- name: claim
UPDATE registry.notification
   SET status = 'sending', claim = %(claim)s, claimed_until = clock_timestamp() + %(claim_for)s, attempts = attempts + 1,
       attempted_at = clock_timestamp()
 WHERE notification_id = (
    SELECT notification_id FROM registry.notification
     WHERE (status = 'pending' AND send_after <= %(now)s AND (retry_at IS NULL OR retry_at <= clock_timestamp()))
        OR (status = 'sending' AND claimed_until < clock_timestamp())
     ORDER BY send_after, notification_id LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING *
-- name: settle
UPDATE registry.notification
   SET status = %(status)s, claim = NULL, claimed_until = NULL, retry_at = %(retry_at)s, reason = %(reason)s,
       smtp_code = %(smtp_code)s, message_id = coalesce(%(message_id)s, message_id),
       sent_at = CASE WHEN %(status)s = 'sent' THEN clock_timestamp() END,
       sent_at_billing = CASE WHEN %(status)s = 'sent' THEN %(now)s::timestamptz END
 WHERE notification_id = %(notification_id)s AND claim = %(claim)s AND status = 'sending'
-- name: list
SELECT * FROM registry.notification
 WHERE (%(status)s::text IS NULL OR status = %(status)s) AND (%(tenant_id)s::text IS NULL OR tenant_id = %(tenant_id)s)
   AND (%(kind)s::text IS NULL OR kind = %(kind)s)
 ORDER BY notification_id DESC LIMIT %(limit)s
-- name: get
SELECT * FROM registry.notification WHERE notification_id = %(notification_id)s
-- name: retry
UPDATE registry.notification
   SET status = 'pending', retry_at = NULL, attempts = 0, reason = NULL, planned_at = now(),
       expires_at = greatest(expires_at, %(now)s::timestamptz + interval '1 day')
 WHERE status IN ('quarantined', 'refused', 'failed') AND (%(ids)s::bigint[] IS NULL OR notification_id = ANY (%(ids)s))
RETURNING notification_id, tenant_id
-- name: look_again
UPDATE registry.notification_profile SET look_at = '-infinity', retry_at = NULL WHERE tenant_id = ANY (%(tenant_ids)s)
-- name: count
SELECT kind, status, count(*) FROM registry.notification GROUP BY 1, 2
-- name: oldest_waiting
SELECT extract(epoch FROM clock_timestamp() - min(planned_at))::float8 FROM registry.notification
 WHERE status IN ('pending', 'sending') AND (retry_at IS NOT NULL OR attempts > 0)
-- name: failed_looks
SELECT count(*) FROM registry.notification_profile WHERE failure IS NOT NULL
-- name: redact
WITH profile AS (
    UPDATE registry.notification_profile SET recipient = '{}' WHERE tenant_id = %(tenant_id)s
), details AS (
    UPDATE registry.cancellation_detail SET comment = NULL WHERE tenant_id = %(tenant_id)s
)
UPDATE registry.notification SET recipient = '{}', fields = '{}'
 WHERE tenant_id = %(tenant_id)s AND status NOT IN ('pending', 'sending') AND (recipient <> '{}' OR fields <> '{}')
-- name: forget
UPDATE registry.notification SET recipient = '{}', fields = '{}'
 WHERE status NOT IN ('pending', 'sending', 'quarantined') AND planned_at < now() - make_interval(days => %(days)s)
   AND (recipient <> '{}' OR fields <> '{}')
