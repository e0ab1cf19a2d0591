-- name: of_one_moment
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY
-- name: events
SELECT event_id, type, status, reason, received_at FROM registry.event WHERE status IN ('received', 'quarantined')
 ORDER BY received_at, event_id LIMIT 1000
-- name: running
SELECT DISTINCT substr(lock, 8) FROM procrastinate_jobs
 WHERE task_name = 'reconcile' AND status IN ('todo', 'doing') AND lock LIKE 'tenant:%%'
UNION
SELECT tenant_id FROM registry.operation WHERE status = 'running' AND tenant_id IS NOT NULL
-- name: placements
SELECT * FROM registry.placement
-- name: record
INSERT INTO registry.audit_finding (kind, subject, tenant_id, what, fix, fixable)
SELECT DISTINCT ON (kind, subject) kind, subject, tenant_id, what, fix, fixable
  FROM unnest(%(kind)s::text[], %(subject)s::text[], %(tenant_id)s::text[], %(what)s::text[], %(fix)s::text[],
              %(fixable)s::boolean[]) AS f (kind, subject, tenant_id, what, fix, fixable)
 ORDER BY kind, subject  -- in an order that two audits share
ON CONFLICT (kind, subject) DO UPDATE
   SET tenant_id = excluded.tenant_id, what = excluded.what, fix = excluded.fix, fixable = excluded.fixable,
       last_seen_at = now()
-- name: resolve
DELETE FROM registry.audit_finding f
 WHERE NOT EXISTS (SELECT FROM unnest(%(kind)s::text[], %(subject)s::text[]) AS s (kind, subject)
                    WHERE s.kind = f.kind AND s.subject = f.subject)
-- name: add_run
INSERT INTO registry.audit_run (started_at, nightly, tenants, findings, complete)
VALUES (%(started_at)s, %(nightly)s, %(tenants)s, %(findings)s, %(complete)s)
-- name: prune
DELETE FROM registry.audit_run WHERE ended_at < now() - interval '400 days'
-- name: last_run
SELECT ended_at, findings, complete FROM registry.audit_run ORDER BY run_id DESC LIMIT 1
-- name: ran_since
SELECT EXISTS (SELECT FROM registry.audit_run WHERE nightly AND started_at >= %(since)s)
-- name: count
SELECT kind, count(*) FROM registry.audit_finding GROUP BY kind
