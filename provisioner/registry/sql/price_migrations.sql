-- name: open_of
SELECT * FROM registry.price_migration WHERE from_price = %(from_price)s AND status <> 'finished'
-- name: begin
INSERT INTO registry.price_migration (from_price, to_price, plan, effective, proration_behavior, started_by)
VALUES (%(from_price)s, %(to_price)s, %(plan)s, %(effective)s, %(proration_behavior)s, %(by)s)
RETURNING *
-- name: lock
SELECT pg_try_advisory_lock(hashtext('registry.price_migration'), %(migration_id)s::bigint::integer)
-- name: unlock
SELECT pg_advisory_unlock(hashtext('registry.price_migration'), %(migration_id)s::bigint::integer)
-- name: set_status
UPDATE registry.price_migration
   SET status = %(status)s, reason = %(reason)s, finished_at = CASE WHEN %(status)s = 'finished' THEN now() END
 WHERE migration_id = %(migration_id)s
-- name: items
SELECT * FROM registry.price_migration_item WHERE migration_id = %(migration_id)s ORDER BY wave, subscription_id
-- name: put_item
INSERT INTO registry.price_migration_item (migration_id, subscription_id, tenant_id, status, wave, schedule_id, reason)
VALUES (%(migration_id)s, %(subscription_id)s, %(tenant_id)s, %(status)s, %(wave)s, %(schedule_id)s, %(reason)s)
ON CONFLICT (migration_id, subscription_id) DO UPDATE
   SET status = excluded.status, reason = excluded.reason, wave = excluded.wave,
       schedule_id = coalesce(excluded.schedule_id, price_migration_item.schedule_id),
       attempts = price_migration_item.attempts + CASE WHEN excluded.status = 'moving' AND price_migration_item.status <> 'moving' THEN 1 ELSE 0 END,
       updated_at = now()
