-- name: put_key
INSERT INTO registry.evidence_key (key_id, public_key) VALUES (%(key_id)s, %(public_key)s) ON CONFLICT DO NOTHING
-- name: keys
SELECT public_key FROM registry.evidence_key WHERE revoked_at IS NULL ORDER BY first_used_at
-- name: is_revoked
SELECT EXISTS (SELECT FROM registry.evidence_key WHERE key_id = %(key_id)s AND revoked_at IS NOT NULL)
-- name: revoke_key
UPDATE registry.evidence_key SET revoked_at = coalesce(revoked_at, now()), revoked = coalesce(revoked, %(why)s)
 WHERE key_id = %(key_id)s
-- name: put
INSERT INTO registry.proof (proof_id, scope, tenant_ids, cell, fast, trigger, operation_id, status, reason, attempts,
                            failed, started_at, ended_at, digest, signature, key_id, document)
VALUES (%(proof_id)s, %(scope)s, %(tenant_ids)s, %(cell)s, %(fast)s, %(trigger)s, %(operation_id)s, %(status)s,
        %(reason)s, %(attempts)s, %(failed)s, %(started_at)s, %(ended_at)s, %(digest)s, %(signature)s, %(key_id)s,
        %(document)s)
-- name: get
SELECT proof_id::text, scope, tenant_ids, cell, fast, trigger, operation_id, status, reason, attempts, failed,
       started_at, ended_at, digest, key_id FROM registry.proof WHERE proof_id = %(proof_id)s::uuid
-- name: list
SELECT proof_id::text, scope, tenant_ids, cell, fast, trigger, operation_id, status, reason, attempts, failed,
       started_at, ended_at, digest, key_id FROM registry.proof
 WHERE (%(tenant_id)s::text IS NULL OR %(tenant_id)s = ANY (tenant_ids) OR scope = 'all')
 ORDER BY ended_at DESC LIMIT %(limit)s
-- name: document
SELECT document FROM registry.proof WHERE proof_id = %(proof_id)s::uuid
-- name: put_verdicts
-- A failure stands until a proof at least as thorough passes: one that did not run says nothing.
-- Returns the tenants about whom this is news.
WITH said AS (
    SELECT v.tenant_id, v.status, v.reason, t.generation
      FROM unnest(%(tenant_ids)s::text[], %(statuses)s::text[], %(reasons)s::text[]) AS v (tenant_id, status, reason)
      JOIN registry.tenant t USING (tenant_id)
), before AS (
    SELECT p.tenant_id, p.status, p.generation FROM registry.tenant_proof p
     WHERE p.tenant_id = ANY (%(tenant_ids)s) AND p.fast = %(fast)s
), written AS (
    INSERT INTO registry.tenant_proof AS p (tenant_id, fast, generation, proof_id, status, reason, at)
    SELECT tenant_id, %(fast)s, generation, %(proof_id)s::uuid, status, reason, %(at)s FROM said
    ON CONFLICT (tenant_id, fast) DO UPDATE
       SET generation = excluded.generation, proof_id = excluded.proof_id, status = excluded.status,
           reason = excluded.reason, at = excluded.at
     WHERE NOT (p.status = 'not_isolated' AND excluded.status = 'not_run' AND p.generation = excluded.generation)
    RETURNING p.tenant_id
), thorough AS (
    DELETE FROM registry.tenant_proof p USING said s
     WHERE NOT %(fast)s AND p.tenant_id = s.tenant_id AND p.fast AND s.status = 'isolated' AND p.at <= %(at)s
)
SELECT s.tenant_id FROM said s LEFT JOIN before b ON b.tenant_id = s.tenant_id AND b.generation = s.generation
 WHERE b.status IS DISTINCT FROM s.status
-- name: verdicts
SELECT p.tenant_id, p.fast, p.proof_id::text, p.status, p.reason, p.at
  FROM registry.tenant_proof p JOIN registry.tenant t USING (tenant_id, generation)
 WHERE t.state <> 'destroyed' AND (%(tenant_id)s::text IS NULL OR p.tenant_id = %(tenant_id)s)
-- name: last_of_all
SELECT DISTINCT ON (cell) cell, status, extract(epoch FROM ended_at)::float8,
       extract(epoch FROM ended_at - started_at)::float8
  FROM registry.proof WHERE scope = 'all' ORDER BY cell, ended_at DESC
-- name: count
SELECT trigger, status, count(*) FROM registry.proof GROUP BY 1, 2
-- name: nightly_due
-- Cells with tenants that were there at the hour and of which nobody has proved anything since.
SELECT DISTINCT t.cell FROM registry.tenant t
 WHERE t.ready_at < %(since)s AND t.state <> 'destroyed'
   AND NOT EXISTS (SELECT FROM registry.proof p
                    WHERE p.cell = t.cell AND p.scope = 'all' AND p.started_at >= %(since)s
                      AND (p.trigger = 'nightly' OR p.status <> 'not_run'))
-- name: prune
DELETE FROM registry.proof p
 WHERE p.ended_at < now() - make_interval(days => CASE WHEN p.fast AND p.status <> 'not_isolated' THEN %(fast_days)s
                                                        ELSE %(days)s END)
   AND NOT EXISTS (SELECT FROM registry.tenant_proof v WHERE v.proof_id = p.proof_id)
