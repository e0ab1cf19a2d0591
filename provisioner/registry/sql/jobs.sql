-- name: defer
SELECT procrastinate_defer_jobs_v1(ARRAY(
    SELECT ROW(%(queue)s, %(task)s, %(priority)s, NULL, NULL, args, NULL)::procrastinate_job_to_defer_v1
      FROM jsonb_array_elements(%(args)s) AS args))
-- name: defer_reconcile
WITH raised AS (
    -- Jobs of one lock run in the order they came, so the one that waits must not hold a more urgent one back.
    UPDATE procrastinate_jobs SET priority = greatest(priority, %(priority)s)
     WHERE status = 'todo' AND task_name = 'reconcile'
       AND lock = ANY(SELECT 'tenant:' || tenant_id FROM unnest(%(tenant_ids)s::text[]) AS tenant_id)
    RETURNING lock
), wanted AS (
    SELECT DISTINCT tenant_id FROM unnest(%(tenant_ids)s::text[]) AS tenant_id
     WHERE 'tenant:' || tenant_id NOT IN (SELECT lock FROM raised)
)
SELECT procrastinate_defer_jobs_v1(array_agg(
    ROW('reconcile', 'reconcile', %(priority)s, 'tenant:' || tenant_id, NULL,
        jsonb_build_object('tenant_id', tenant_id, 'reason', %(reason)s::text), NULL)::procrastinate_job_to_defer_v1))
  FROM wanted HAVING count(*) > 0
-- name: defer_platform
SELECT procrastinate_defer_jobs_v1(ARRAY[
    ROW('reconcile', 'reconcile_platform', %(priority)s, 'platform:' || %(cell)s::text, NULL,
        jsonb_build_object('cell', %(cell)s::text, 'reason', %(reason)s::text), NULL)::procrastinate_job_to_defer_v1])
 WHERE NOT EXISTS (SELECT FROM procrastinate_jobs WHERE status = 'todo' AND lock = 'platform:' || %(cell)s::text)
-- name: defer_proof
-- Of one tenant, or of a cell that has any.
SELECT procrastinate_defer_jobs_v1(ARRAY[
    ROW('proofs', 'prove', %(priority)s, 'proof:' || %(subject)s::text, NULL,
        jsonb_build_object('tenant_id', %(tenant_id)s::text, 'cell', %(cell)s::text, 'trigger', %(trigger)s::text,
                           'operation_id',
                           (SELECT max(operation_id) FROM registry.operation
                             WHERE tenant_id = %(tenant_id)s AND status = 'succeeded')),
        NULL)::procrastinate_job_to_defer_v1])
 WHERE NOT EXISTS (SELECT FROM procrastinate_jobs WHERE status IN ('todo', 'doing')
                      AND (status = 'todo' OR %(unless_running)s)
                      AND lock = 'proof:' || %(subject)s::text)
   AND (%(tenant_id)s::text IS NOT NULL
        OR EXISTS (SELECT FROM registry.tenant WHERE cell = %(cell)s AND state = 'ready'))
-- name: is_reconciling
SELECT EXISTS (SELECT FROM procrastinate_jobs WHERE queue_name = 'reconcile'
                  AND status IN ('todo', 'doing')
                  AND (status = 'doing' OR coalesce(scheduled_at <= now(), true)))
-- name: is_busy
SELECT EXISTS (SELECT FROM procrastinate_jobs
                WHERE status IN ('todo', 'doing') AND lock = 'tenant:' || %(tenant_id)s::text)
-- name: queue
SELECT queue_name, status::text, count(*),
       coalesce(extract(epoch FROM now() - min(e.at)), 0)
  FROM procrastinate_jobs j
  LEFT JOIN LATERAL (SELECT at FROM procrastinate_events WHERE job_id = j.id AND type = 'deferred'
                      ORDER BY id LIMIT 1) e ON true
 WHERE status IN ('todo', 'doing') GROUP BY 1, 2
-- name: prune
DELETE FROM procrastinate_jobs WHERE id IN (
    SELECT j.id FROM procrastinate_jobs j
     WHERE j.status IN ('succeeded', 'failed', 'cancelled', 'aborted')
       AND (SELECT max(at) FROM procrastinate_events e WHERE e.job_id = j.id) < now() - make_interval(hours => %(hours)s)
     LIMIT 5000)
