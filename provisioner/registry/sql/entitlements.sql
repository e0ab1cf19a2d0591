-- name: put
INSERT INTO registry.entitlement_override (tenant_id, generation, kind, name, granted, value, reason, author, created_at,
                                           expires_at)
SELECT tenant_id, generation, %(kind)s, %(name)s, %(granted)s, %(value)s, %(reason)s, %(author)s, now(),
       %(expires_at)s
  FROM registry.tenant WHERE tenant_id = %(tenant_id)s
ON CONFLICT (tenant_id, generation, kind, name) DO UPDATE
   SET granted = excluded.granted, value = excluded.value, reason = excluded.reason, author = excluded.author,
       created_at = excluded.created_at, expires_at = excluded.expires_at
-- name: clear
DELETE FROM registry.entitlement_override AS o USING registry.tenant AS t
 WHERE o.tenant_id = %(tenant_id)s AND t.tenant_id = o.tenant_id AND t.generation = o.generation
   AND o.kind = %(kind)s AND o.name = %(name)s
RETURNING o.kind
-- name: of_tenant
SELECT o.kind, o.name, o.granted, o.value, o.reason, o.author, o.created_at, o.expires_at,
       o.expires_at <= now() AS expired
  FROM registry.entitlement_override o JOIN registry.tenant t USING (tenant_id, generation)
 WHERE tenant_id = %(tenant_id)s ORDER BY o.kind, o.name
-- name: effective
SELECT tenant_id, generation, plan, access, access_reason, access_since, features, excluded, limits, soft_limits, rates,
       seats, storage, updated_at, valid_until
  FROM tenantry_v1.entitlement WHERE tenant_id = %(tenant_id)s
-- name: claim_expired
DELETE FROM registry.entitlement_override WHERE (tenant_id, generation, kind, name) IN (
    SELECT tenant_id, generation, kind, name FROM registry.entitlement_override
     WHERE expires_at <= now() ORDER BY expires_at LIMIT 1000 FOR UPDATE SKIP LOCKED)
RETURNING tenant_id, kind, name, granted, value, reason, author, created_at, expires_at, true AS expired
-- name: prune_windows
DELETE FROM registry.rate_window WHERE (window_number + 2) * seconds < extract(epoch FROM now()) - 3600
