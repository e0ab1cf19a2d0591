-- name: get
SELECT * FROM registry.tenant_record WHERE tenant_id = %(tenant_id)s
-- name: get_by_customer
SELECT * FROM registry.tenant_record WHERE stripe_customer_id = %(customer_id)s
-- name: tenant_of_customer
SELECT tenant_id FROM registry.tenant WHERE stripe_customer_id = %(customer_id)s
-- name: all
SELECT * FROM registry.tenant_record ORDER BY tenant_id
-- name: count_by_state
SELECT state, count(*), count(*) FILTER (WHERE failure->>'class' = 'operator') FROM registry.tenant GROUP BY state
-- name: insert
INSERT INTO registry.tenant (tenant_id, cell, stripe_customer_id) VALUES (%(tenant_id)s, %(cell)s, %(customer_id)s)
ON CONFLICT DO NOTHING
-- name: bind
UPDATE registry.tenant SET stripe_customer_id = %(customer_id)s, updated_at = now()
 WHERE tenant_id = %(tenant_id)s AND stripe_customer_id IS NULL
-- name: unbind
UPDATE registry.tenant SET stripe_customer_id = NULL, subscription_id = NULL, subscription_status = NULL, updated_at = now()
 WHERE tenant_id = %(tenant_id)s
-- name: entitle
UPDATE registry.tenant
   SET subscription_id = %(subscription_id)s, subscription_status = %(subscription_status)s, plan = %(plan)s,
       tier = %(tier)s, pending_graduation = %(pending_graduation)s, features = %(features)s, limits = %(limits)s,
       retain_until = %(retain_until)s, rates = %(rates)s, soft_limits = %(soft_limits)s, review_at = %(review_at)s,
       seats = %(seats)s, billing = %(billing)s, updated_at = now()
 WHERE tenant_id = %(tenant_id)s
   AND (subscription_id, subscription_status, plan, tier, pending_graduation, features, limits, retain_until, rates,
        soft_limits, review_at, seats, billing)
       IS DISTINCT FROM (%(subscription_id)s::text, %(subscription_status)s::text, %(plan)s::text, %(tier)s::text,
                         %(pending_graduation)s::text, %(features)s::text[], %(limits)s::jsonb,
                         %(retain_until)s::timestamptz, %(rates)s::jsonb, %(soft_limits)s::text[],
                         %(review_at)s::timestamptz, %(seats)s::integer, %(billing)s::jsonb)
-- name: set_access
UPDATE registry.tenant
   SET access = %(access)s, access_reason = %(reason)s, updated_at = now(),
       access_since = CASE WHEN access = %(access)s AND access_since IS NOT NULL THEN access_since
                           ELSE coalesce(%(since)s, now()) END
 WHERE tenant_id = %(tenant_id)s AND (access, access_reason) IS DISTINCT FROM (%(access)s::text, %(reason)s::text)
-- name: set_state
UPDATE registry.tenant SET state = %(state)s, updated_at = now() WHERE tenant_id = %(tenant_id)s
-- name: record_spec
UPDATE registry.tenant SET spec = %(spec)s, fingerprint = NULL, state = %(state)s, updated_at = now()
 WHERE tenant_id = %(tenant_id)s
-- name: record_success
UPDATE registry.tenant
   SET state = %(state)s, outputs = %(outputs)s, fingerprint = %(fingerprint)s, failure = NULL,
       attempts = 0, next_attempt_at = NULL, destruction = NULL, ready_at = coalesce(ready_at, now()), updated_at = now()
 WHERE tenant_id = %(tenant_id)s
-- name: record_failure
UPDATE registry.tenant
   SET failure = %(failure)s, attempts = attempts + 1, next_attempt_at = %(next_attempt_at)s, fingerprint = NULL,
       updated_at = now()
 WHERE tenant_id = %(tenant_id)s
RETURNING attempts
-- name: clear_failure
UPDATE registry.tenant SET failure = NULL, attempts = 0, next_attempt_at = NULL, updated_at = now()
 WHERE tenant_id = %(tenant_id)s AND (failure IS NOT NULL OR next_attempt_at IS NOT NULL)
-- name: unpark
UPDATE registry.tenant SET failure = failure - 'judged_by' WHERE tenant_id = %(tenant_id)s AND failure IS NOT NULL
-- name: distrust
UPDATE registry.tenant SET fingerprint = NULL WHERE tenant_id = %(tenant_id)s
-- name: plan_attempt
UPDATE registry.tenant SET next_attempt_at = %(at)s
 WHERE tenant_id = %(tenant_id)s AND (next_attempt_at IS NULL OR next_attempt_at > %(at)s)
-- name: wake
UPDATE registry.tenant SET next_attempt_at = %(now)s
 WHERE cell = %(cell)s AND failure->>'code' IN ('platform_missing', 'platform_unfinished', 'platform_outdated', 'platform_parked')
-- name: claim_due
UPDATE registry.tenant SET next_attempt_at = NULL
 WHERE tenant_id IN (SELECT tenant_id FROM registry.tenant WHERE next_attempt_at <= %(now)s FOR UPDATE SKIP LOCKED)
RETURNING tenant_id
-- name: claim_review
UPDATE registry.tenant SET review_at = NULL
 WHERE tenant_id IN (SELECT tenant_id FROM registry.tenant WHERE review_at <= %(now)s FOR UPDATE SKIP LOCKED)
RETURNING tenant_id
-- name: authorise_destruction
UPDATE registry.tenant SET destruction = %(authorisation)s, updated_at = now() WHERE tenant_id = %(tenant_id)s
-- name: record_destroyed
UPDATE registry.tenant
   SET state = 'destroyed', access = 'deleted', access_since = coalesce(%(since)s, now()), review_at = NULL, outputs = NULL, spec = NULL, fingerprint = NULL, failure = NULL, attempts = 0,
       next_attempt_at = NULL, pending_graduation = NULL, ready_at = NULL, destruction = NULL, retain_until = NULL,
       tier = NULL, updated_at = now()
 WHERE tenant_id = %(tenant_id)s
-- name: begin_generation
UPDATE registry.tenant
   SET generation = generation + 1, epoch = epoch + 1, state = 'pending', destruction = NULL, retain_until = NULL,
       updated_at = now()
 WHERE tenant_id = %(tenant_id)s AND state = 'destroyed'
