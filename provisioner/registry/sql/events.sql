-- name: store
WITH stored AS (
    INSERT INTO registry.event (event_id, type, object_id, api_version, created_at, livemode, body, status, refetch_id,
                                processed_at)
    SELECT event_id, type, object_id, api_version, to_timestamp(created), livemode, body, status, refetch_id,
           CASE WHEN status = 'ignored' THEN now() END
      FROM unnest(%(event_id)s::text[], %(type)s::text[], %(object_id)s::text[], %(api_version)s::text[],
                  %(created)s::bigint[], %(livemode)s::boolean[], %(body)b::bytea[], %(status)s::text[],
                  %(refetch_id)s::text[])
        AS e (event_id, type, object_id, api_version, created, livemode, body, status, refetch_id)
     ORDER BY event_id  -- two such statements at once must not wait for each other's rows in a circle
    ON CONFLICT (event_id) DO NOTHING
    RETURNING event_id, status
), deferred AS (
    SELECT procrastinate_defer_jobs_v1(array_agg(
        ROW('events', 'handle_event', 0, NULL, NULL, jsonb_build_object('event_id', event_id), NULL)
        ::procrastinate_job_to_defer_v1)) AS jobs
      FROM stored WHERE status = 'received' HAVING count(*) > 0
)
SELECT event_id, (SELECT count(jobs) FROM deferred) FROM stored
-- name: get
SELECT * FROM registry.event WHERE event_id = %(event_id)s
-- name: list
SELECT * FROM registry.event
 WHERE (%(status)s::text IS NULL OR status = %(status)s) AND (%(tenant_id)s::text IS NULL OR tenant_id = %(tenant_id)s)
 ORDER BY received_at DESC, event_id LIMIT %(limit)s
-- name: take
SELECT e.*, ARRAY(SELECT o.event_id FROM registry.event o
                   WHERE o.refetch_id = e.refetch_id AND o.status = 'received' AND o.livemode = e.livemode
                     AND o.event_id <> e.event_id) AS companions
  FROM registry.event e WHERE e.event_id = %(event_id)s AND e.status = 'received'
-- name: process
WITH mine AS (  -- in an order that two workers share, or they would wait for each other
    SELECT event_id FROM registry.event WHERE event_id = ANY(%(event_ids)s) AND status = 'received'
     ORDER BY event_id FOR UPDATE
), processed AS (
    UPDATE registry.event e SET status = 'processed', processed_at = now(), reason = NULL, hint = NULL,
           tenant_id = coalesce((%(tenant_ids)s::text[])[1], e.tenant_id)
      FROM mine WHERE e.event_id = mine.event_id
    RETURNING e.event_id, e.type, e.object_id, e.received_at
), told AS (
    INSERT INTO registry.timeline (tenant_id, kind, summary, event_id)
    SELECT tenant_id, 'event', type || coalesce(' of ' || object_id, ''), event_id
      FROM processed, unnest(%(tenant_ids)s::text[]) AS tenant_id ORDER BY received_at, event_id
)
SELECT event_id FROM processed
-- name: settle
UPDATE registry.event
   SET status = %(status)s, reason = %(reason)s, hint = %(hint)s, tenant_id = coalesce(%(tenant_id)s, tenant_id),
       processed_at = now()
 WHERE event_id = %(event_id)s AND status = 'received'  -- what another look has answered meanwhile stays so
-- name: reopen
UPDATE registry.event SET status = 'received', reason = NULL, hint = NULL, processed_at = NULL
 WHERE event_id = ANY(%(event_ids)s) AND status IN ('quarantined', 'received') RETURNING event_id
-- name: quarantined
SELECT event_id FROM registry.event WHERE status = 'quarantined' ORDER BY received_at
-- name: stranded
SELECT e.event_id FROM registry.event e
 WHERE e.status = 'received' AND e.received_at < now() - make_interval(secs => %(older_than_s)s)
   AND NOT EXISTS (SELECT FROM procrastinate_jobs j
                    WHERE j.status IN ('todo', 'doing') AND j.task_name = 'handle_event'
                      AND j.args->>'event_id' = e.event_id)
-- name: count_by_status
SELECT status, count(*) FROM registry.event GROUP BY status
