-- name: begin
INSERT INTO registry.operation (tenant_id, stack_name, kind, reason, fencing, holder)
VALUES (%(tenant_id)s, %(stack_name)s, %(kind)s, %(reason)s, %(fencing)s, %(holder)s) RETURNING operation_id
-- name: finish
UPDATE registry.operation
   SET status = %(status)s, changes = %(changes)s, error = %(error)s, finished_at = clock_timestamp(),
       seconds = extract(epoch FROM clock_timestamp() - started_at)
 WHERE operation_id = %(operation_id)s AND status = 'running'
-- name: abandon
UPDATE registry.operation
   SET status = 'interrupted', finished_at = clock_timestamp(),
       seconds = extract(epoch FROM clock_timestamp() - started_at),
       error = '{"code": "worker_died", "message": "its worker died; the next one took over"}'
 WHERE stack_name = %(stack_name)s AND status = 'running' AND fencing < %(fencing)s RETURNING operation_id
-- name: abandon_steps
UPDATE registry.operation_step SET status = 'failed', message = 'interrupted'
 WHERE operation_id = ANY(%(operation_ids)s) AND status = 'running'
-- name: step
INSERT INTO registry.operation_step (operation_id, urn, type, name, op, status, seconds, message)
VALUES (%(operation_id)s, %(urn)s, %(type)s, %(name)s, %(op)s, %(status)s, %(seconds)s, %(message)s)
ON CONFLICT (operation_id, urn) DO UPDATE
   SET op = excluded.op, status = excluded.status, seconds = excluded.seconds,
       message = coalesce(excluded.message, operation_step.message)
-- name: get
SELECT * FROM registry.operation WHERE operation_id = %(operation_id)s
-- name: steps
SELECT operation_id, urn, type, name, op, status, seconds, message, started_at FROM registry.operation_step
 WHERE operation_id = ANY(%(operation_ids)s) ORDER BY operation_id, started_at, urn
-- name: list
SELECT * FROM registry.operation
 WHERE (%(tenant_id)s::text IS NULL OR tenant_id = %(tenant_id)s) AND (%(status)s::text IS NULL OR status = %(status)s)
 ORDER BY operation_id DESC LIMIT %(limit)s
-- name: count
SELECT kind, status, count(*), coalesce(sum(seconds), 0) FROM registry.operation GROUP BY kind, status
