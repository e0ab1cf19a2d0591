-- name: lock
SELECT pg_advisory_lock(hashtextextended('tenantry selling ' || %(tenant_id)s::text, 0))
-- name: unlock
SELECT pg_advisory_unlock(hashtextextended('tenantry selling ' || %(tenant_id)s::text, 0))
-- name: reserve
INSERT INTO registry.signup (tenant_id, reference, email, name, reserved_until)
VALUES (%(tenant_id)s, %(reference)s, %(email)s, %(name)s, now() + %(hold)s)
ON CONFLICT (tenant_id) DO UPDATE SET reserved_until = greatest(registry.signup.reserved_until, excluded.reserved_until)
 WHERE registry.signup.reference = excluded.reference
-- name: signup
SELECT tenant_id, reference, email, name, idempotency_key, stripe_customer_id, reserved_until, created_at,
       reserved_until < now() AS lapsed, created_at < now() - interval '20 hours' AS key_forgotten
  FROM registry.signup WHERE tenant_id = %(tenant_id)s
-- name: record_customer
UPDATE registry.signup SET stripe_customer_id = %(customer_id)s WHERE tenant_id = %(tenant_id)s
-- name: record_contact
UPDATE registry.signup SET email = %(email)s, name = %(name)s WHERE tenant_id = %(tenant_id)s
-- name: release_signup
DELETE FROM registry.signup WHERE tenant_id = %(tenant_id)s AND reserved_until < now()
-- name: record_checkout
INSERT INTO registry.checkout (tenant_id, fingerprint) VALUES (%(tenant_id)s, %(fingerprint)s)
ON CONFLICT (tenant_id) DO UPDATE
   SET fingerprint = excluded.fingerprint, idempotency_key = excluded.idempotency_key, session_id = NULL, created_at = now()
 WHERE registry.checkout.fingerprint <> excluded.fingerprint OR registry.checkout.session_id IS NOT NULL
    OR registry.checkout.created_at < now() - interval '20 hours'
-- name: checkout_key
SELECT idempotency_key FROM registry.checkout WHERE tenant_id = %(tenant_id)s
-- name: answer_checkout
UPDATE registry.checkout SET session_id = %(session_id)s WHERE tenant_id = %(tenant_id)s
-- name: forget_checkout
DELETE FROM registry.checkout WHERE tenant_id = %(tenant_id)s
-- name: plan_change
INSERT INTO registry.planned_change (tenant_id, subscription_id, plan, interval, seats)
VALUES (%(tenant_id)s, %(subscription_id)s, %(plan)s, %(interval)s, %(seats)s)
ON CONFLICT (tenant_id) DO UPDATE
   SET subscription_id = excluded.subscription_id, plan = excluded.plan, interval = excluded.interval,
       seats = excluded.seats, schedule_id = NULL, requested_at = now()
-- name: planned_change
SELECT tenant_id, subscription_id, plan, interval, seats, schedule_id, requested_at
  FROM registry.planned_change WHERE tenant_id = %(tenant_id)s
-- name: record_schedule
UPDATE registry.planned_change SET schedule_id = %(schedule_id)s WHERE tenant_id = %(tenant_id)s
-- name: drop_planned_change
DELETE FROM registry.planned_change WHERE tenant_id = %(tenant_id)s
-- name: untold_changes
SELECT tenant_id FROM registry.planned_change WHERE schedule_id IS NULL AND requested_at < now() - %(older)s ORDER BY 1
-- name: add_cancellation
INSERT INTO registry.cancellation (tenant_id, subscription_id, plan, at_period_end, feedback, comment)
VALUES (%(tenant_id)s, %(subscription_id)s, %(plan)s, %(at_period_end)s, %(feedback)s, %(comment)s)
-- name: resume_cancellation
UPDATE registry.cancellation SET resumed_at = now()
 WHERE subscription_id = %(subscription_id)s AND resumed_at IS NULL
-- name: cancellation_reasons
SELECT coalesce(feedback, 'not said') AS feedback, plan, count(*) AS cancellations, count(resumed_at) AS resumed
  FROM registry.cancellation WHERE requested_at >= %(since)s GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2
-- name: record_trial
INSERT INTO registry.trial (subscription_id, tenant_id, customer_id, identity, started_at, ends_at)
VALUES (%(subscription_id)s, %(tenant_id)s, %(customer_id)s, %(identity)s, %(started_at)s, %(ends_at)s)
ON CONFLICT (subscription_id) DO UPDATE SET ends_at = excluded.ends_at
 WHERE registry.trial.ends_at <> excluded.ends_at
RETURNING xmax = 0
-- name: trials_after
SELECT DISTINCT o.tenant_id FROM registry.trial t JOIN registry.trial o
    ON (o.customer_id = t.customer_id OR o.identity = t.identity)
   AND (o.started_at, o.subscription_id) > (t.started_at, t.subscription_id)
 WHERE t.subscription_id = %(subscription_id)s AND o.tenant_id <> t.tenant_id AND NOT o.refused ORDER BY 1
-- name: settle_trial_offer
DELETE FROM registry.trial_offer WHERE identity = %(identity)s AND tenant_id = %(tenant_id)s
-- name: refused_trials
SELECT t.subscription_id FROM registry.trial t
 WHERE t.subscription_id = ANY(%(subscription_ids)s)
   AND EXISTS (SELECT FROM registry.trial o
                WHERE (o.customer_id = t.customer_id OR o.identity = t.identity)
                  AND (o.started_at, o.subscription_id) < (t.started_at, t.subscription_id))
   AND NOT EXISTS (SELECT FROM registry.trial_exception e
                    WHERE e.tenant_id = t.tenant_id AND e.used_by = t.subscription_id)
-- name: use_trial_exception
UPDATE registry.trial_exception SET used_by = %(subscription_id)s WHERE tenant_id = %(tenant_id)s AND used_by IS NULL
-- name: mark_trials
UPDATE registry.trial SET refused = subscription_id = ANY(%(refused)s)
 WHERE subscription_id = ANY(%(subscription_ids)s) AND refused <> (subscription_id = ANY(%(refused)s))
RETURNING subscription_id, tenant_id, refused
-- name: earlier_trial
SELECT tenant_id FROM registry.trial
 WHERE customer_id = %(customer_id)s OR identity = %(identity)s ORDER BY started_at, subscription_id LIMIT 1
-- name: has_trial_exception
SELECT FROM registry.trial_exception WHERE tenant_id = %(tenant_id)s AND used_by IS NULL
-- name: offer_trial
INSERT INTO registry.trial_offer (identity, tenant_id, open_until)
VALUES (%(identity)s, %(tenant_id)s, %(open_until)s)
ON CONFLICT (identity) DO UPDATE SET tenant_id = excluded.tenant_id, open_until = excluded.open_until
 WHERE registry.trial_offer.tenant_id = excluded.tenant_id OR registry.trial_offer.open_until < %(now)s
-- name: allow_trial
INSERT INTO registry.trial_exception (tenant_id, allowed_by, reason) VALUES (%(tenant_id)s, %(by)s, %(reason)s)
ON CONFLICT (tenant_id) WHERE used_by IS NULL DO UPDATE
   SET allowed_by = excluded.allowed_by, reason = excluded.reason, allowed_at = now()
-- name: move_trial_end
UPDATE registry.trial SET ends_at = %(ends_at)s WHERE subscription_id = %(subscription_id)s
-- name: trials
SELECT r.subscription_id, r.tenant_id, r.customer_id, r.identity, r.started_at, r.ends_at, r.refused,
       e.allowed_by, t.subscription_status, t.plan
  FROM registry.trial r
  LEFT JOIN registry.tenant t ON t.tenant_id = r.tenant_id AND t.subscription_id = r.subscription_id
  LEFT JOIN registry.trial_exception e ON e.tenant_id = r.tenant_id AND e.used_by = r.subscription_id
 WHERE %(ended)s OR r.ends_at > %(now)s
 ORDER BY r.ends_at DESC, r.subscription_id LIMIT %(limit)s
-- name: trials_of
SELECT r.subscription_id, r.tenant_id, r.customer_id, r.identity, r.started_at, r.ends_at, r.refused,
       e.allowed_by, t.subscription_status, t.plan
  FROM registry.trial r
  LEFT JOIN registry.tenant t ON t.tenant_id = r.tenant_id AND t.subscription_id = r.subscription_id
  LEFT JOIN registry.trial_exception e ON e.tenant_id = r.tenant_id AND e.used_by = r.subscription_id
 WHERE r.tenant_id = %(tenant_id)s ORDER BY r.started_at DESC, r.subscription_id DESC
