-- name: open
SELECT * FROM registry.deletion_record
 WHERE tenant_id = %(tenant_id)s AND generation = %(generation)s AND step NOT IN ('complete', 'called_off')
-- name: of_tenant
SELECT * FROM registry.deletion_record WHERE tenant_id = %(tenant_id)s ORDER BY created_at DESC
-- name: copies
SELECT * FROM registry.deletion_record
 WHERE copy_name IS NOT NULL AND copy_removed_at IS NULL AND step <> 'called_off'
   AND (%(tenant_id)s::text IS NULL OR tenant_id = %(tenant_id)s)
 ORDER BY copy_until
-- name: copies_due
SELECT * FROM registry.deletion_record
 WHERE copy_name IS NOT NULL AND copy_removed_at IS NULL
   AND (step = 'called_off' OR (step = 'complete' AND copy_until <= %(now)s))
 ORDER BY copy_until LIMIT 100
-- name: begin
INSERT INTO registry.deletion (deletion_id, tenant_id, generation, cause, requested_by, reason, requested_at, method,
                               forget_customer, tenant)
VALUES (%(deletion_id)s, %(tenant_id)s, %(generation)s, %(cause)s, %(requested_by)s, %(reason)s, %(requested_at)s,
        %(method)s, %(forget_customer)s, %(tenant)s)
-- name: operation_mark
SELECT coalesce(max(operation_id), 0) FROM registry.operation
 WHERE tenant_id = %(tenant_id)s AND kind NOT IN ('export', 'unprotect', 'destroy')
-- name: call_off
UPDATE registry.deletion SET step = 'called_off', updated_at = now() WHERE deletion_id = %(deletion_id)s
-- name: exported
UPDATE registry.deletion
   SET step = 'exported', operation_mark = %(operation_mark)s, export = %(export)s, copy_name = %(copy_name)s,
       copy_until = %(copy_until)s, updated_at = now()
 WHERE deletion_id = %(deletion_id)s
-- name: naming_copy
UPDATE registry.deletion SET copy_name = %(copy_name)s, copy_until = %(copy_until)s, updated_at = now()
 WHERE deletion_id = %(deletion_id)s
-- name: opened
UPDATE registry.deletion SET tenant = tenant || '{"opened": true}', updated_at = now() WHERE deletion_id = %(deletion_id)s
-- name: erase_instead
UPDATE registry.deletion
   SET cause = 'erasure', requested_by = %(requested_by)s, reason = %(reason)s, requested_at = %(requested_at)s,
       method = 'crypto_shred', forget_customer = %(forget_customer)s,
       copy_until = CASE WHEN copy_name IS NOT NULL THEN now() END, updated_at = now()
 WHERE deletion_id = %(deletion_id)s
-- name: found
UPDATE registry.deletion
   SET files = coalesce(files, %(files)s), resources = coalesce(resources, %(resources)s), updated_at = now()
 WHERE deletion_id = %(deletion_id)s
-- name: purged
UPDATE registry.deletion SET step = 'purged', updated_at = now() WHERE deletion_id = %(deletion_id)s
-- name: destroyed
UPDATE registry.deletion
   SET step = 'destroyed', destroyed_at = coalesce(destroyed_at, %(at)s), updated_at = now()
 WHERE deletion_id = %(deletion_id)s
RETURNING destroyed_at
-- name: complete
UPDATE registry.deletion
   SET step = 'complete', completed_at = %(completed_at)s, certificate = %(certificate)s, redacted = %(redacted)s,
       updated_at = now()
 WHERE deletion_id = %(deletion_id)s
-- name: copy_removed
UPDATE registry.deletion SET copy_removed_at = %(at)s, updated_at = now() WHERE deletion_id = %(deletion_id)s
-- name: end_copies
UPDATE registry.deletion SET copy_until = %(at)s, updated_at = now()
 WHERE tenant_id = %(tenant_id)s AND step = 'complete' AND copy_name IS NOT NULL AND copy_removed_at IS NULL
   AND copy_until > %(at)s
-- name: certificate
SELECT certificate FROM registry.deletion
 WHERE tenant_id = %(tenant_id)s AND certificate IS NOT NULL
   AND (%(generation)s::integer IS NULL OR generation = %(generation)s)
 ORDER BY created_at DESC LIMIT 1
-- name: redact_events
UPDATE registry.event e
   SET body = convert_to(jsonb_build_object('id', e.event_id, 'type', e.type, 'created', extract(epoch FROM e.created_at)::bigint,
           'livemode', e.livemode, 'data', jsonb_build_object('object', jsonb_build_object('id', e.object_id)),
           'redacted', jsonb_build_object('sha256', encode(sha256(e.body), 'hex')))::text, 'UTF8')
 WHERE e.status IN ('ignored', 'processed')
   AND (e.tenant_id = %(tenant_id)s
        OR (%(customer_id)s::text IS NOT NULL
            AND (e.object_id = %(customer_id)s OR position(convert_to('"' || %(customer_id)s || '"', 'UTF8') IN e.body) > 0)))
   AND position(convert_to('"redacted"', 'UTF8') IN e.body) = 0
-- name: redact_timeline
UPDATE registry.timeline
   SET summary = regexp_replace(summary, %(address)s, '[redacted]', 'g'),
       detail = regexp_replace(detail::text, %(address)s, '[redacted]', 'g')::jsonb
 WHERE tenant_id = %(tenant_id)s AND (summary ~ %(address)s OR detail::text ~ %(address)s)
-- name: redact_signup
UPDATE registry.signup SET email = '[redacted]', name = NULL, reference = '[redacted]'
 WHERE tenant_id = %(tenant_id)s AND email <> '[redacted]'
-- name: redact_cancellation
UPDATE registry.cancellation SET comment = NULL WHERE tenant_id = %(tenant_id)s AND comment IS NOT NULL
-- name: redact_cancellation_detail
UPDATE registry.cancellation_detail SET comment = NULL WHERE tenant_id = %(tenant_id)s AND comment IS NOT NULL
-- name: redact_trial
UPDATE registry.trial SET identity = NULL WHERE tenant_id = %(tenant_id)s AND identity LIKE '%%@%%'
-- name: redact_notification
UPDATE registry.notification SET recipient = '{}', fields = '{}'
 WHERE tenant_id = %(tenant_id)s AND status NOT IN ('pending', 'sending') AND (recipient, fields) <> ('{}', '{}')
-- name: redact_profile
UPDATE registry.notification_profile SET recipient = '{}' WHERE tenant_id = %(tenant_id)s AND recipient <> '{}'
-- name: remove_offers
DELETE FROM registry.trial_offer WHERE tenant_id = %(tenant_id)s
-- name: remove_checkout
DELETE FROM registry.checkout WHERE tenant_id = %(tenant_id)s
-- name: remove_storage_usage
DELETE FROM registry.storage_usage WHERE tenant_id = %(tenant_id)s
-- name: redact_late_messages
UPDATE registry.notification n SET recipient = '{}', fields = '{}'
 WHERE n.status NOT IN ('pending', 'sending') AND (n.recipient, n.fields) <> ('{}', '{}')
   AND EXISTS (SELECT FROM registry.deletion d WHERE d.tenant_id = n.tenant_id AND d.generation >= n.generation
                  AND d.step = 'complete')
-- name: redact_late_events
UPDATE registry.event e
   SET body = convert_to(jsonb_build_object('id', e.event_id, 'type', e.type, 'created', extract(epoch FROM e.created_at)::bigint,
           'livemode', e.livemode, 'data', jsonb_build_object('object', jsonb_build_object('id', e.object_id)),
           'redacted', jsonb_build_object('sha256', encode(sha256(e.body), 'hex')))::text, 'UTF8')
  FROM registry.tenant t
 WHERE t.state = 'destroyed' AND (e.tenant_id = t.tenant_id OR e.object_id = t.stripe_customer_id)
   AND e.status IN ('ignored', 'processed') AND e.received_at > now() - interval '7 days'
   AND position(convert_to('"redacted"', 'UTF8') IN e.body) = 0
