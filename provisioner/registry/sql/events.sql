-- name: store
WITH stored AS (
    INSERT INTO registry.event (event_id, type, object_id, api_version, created_at, livemode, body, status, processed_at)
    SELECT event_id, type, object_id, api_version, to_timestamp(created), livemode, body, status,
           CASE WHEN status = 'ignored' THEN now() END
      FROM unnest(%(event_id)s::text[], %(type)s::text[], %(object_id)s::text[], %(api_version)s::text[],
                  %(created)s::bigint[], %(livemode)s::boolean[], %(body)b::bytea[], %(status)s::text[])
        AS e (event_id, type, object_id, api_version, created, livemode, body, status)
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
-- name: settle
UPDATE registry.event
   SET status = %(status)s, reason = %(reason)s, hint = %(hint)s, tenant_id = coalesce(%(tenant_id)s, tenant_id),
       processed_at = now()
 WHERE event_id = %(event_id)s
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
