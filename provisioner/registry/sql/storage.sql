-- name: due
SELECT t.tenant_id, t.generation
  FROM registry.tenant t
  JOIN registry.placement p ON p.tenant_id = t.tenant_id AND p.generation = t.generation
  LEFT JOIN registry.storage_usage s ON s.tenant_id = t.tenant_id AND s.generation = t.generation
 WHERE t.access IN ('full', 'grace', 'throttled', 'read_only')
   AND (s.measured_at IS NULL OR s.measured_at < now() - %(every)s)
   AND t.tenant_id <> ALL (%(but)s)
 ORDER BY s.measured_at NULLS FIRST, t.tenant_id LIMIT %(most)s
-- name: put
INSERT INTO registry.storage_usage (tenant_id, generation, database_bytes, files_bytes, files, measured_at)
SELECT tenant_id, generation, %(database_bytes)s, %(files_bytes)s, %(files)s, now()
  FROM registry.tenant WHERE tenant_id = %(tenant_id)s AND generation = %(generation)s
ON CONFLICT (tenant_id) DO UPDATE
   SET database_bytes = excluded.database_bytes, files_bytes = excluded.files_bytes, files = excluded.files,
       measured_at = excluded.measured_at,
       alerted = CASE WHEN storage_usage.generation = excluded.generation THEN storage_usage.alerted ELSE 0 END,
       generation = excluded.generation
RETURNING alerted
-- name: limit
SELECT (limits ->> 'storage_mib')::bigint, 'storage_mib' = ANY (soft_limits) FROM tenantry_v1.entitlement
 WHERE tenant_id = %(tenant_id)s
-- name: set_alerted
UPDATE registry.storage_usage SET alerted = %(percent)s WHERE tenant_id = %(tenant_id)s
