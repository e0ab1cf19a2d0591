-- name: sleeping
SELECT t.tenant_id, t.generation, p.region FROM registry.tenant t JOIN registry.placement p USING (tenant_id)
 WHERE t.tier = ANY (%(tiers)s) AND t.spec ->> 'access' = 'hibernated' AND t.outputs ->> 'access' = 'hibernated'
 ORDER BY t.tenant_id
-- name: forget
DELETE FROM registry.hibernation WHERE tenant_id <> ALL (%(tenant_ids)s)
-- name: seen
INSERT INTO registry.hibernation AS h (tenant_id, generation, identifier, status, stopped_again, problem, seen_at, since)
VALUES (%(tenant_id)s, %(generation)s, %(identifier)s, %(status)s, %(again)s, %(problem)s, %(now)s, %(now)s)
ON CONFLICT (tenant_id) DO UPDATE
   SET generation = excluded.generation, identifier = excluded.identifier, status = excluded.status,
       stopped_again = h.stopped_again + excluded.stopped_again, problem = excluded.problem, seen_at = excluded.seen_at
-- name: get
SELECT * FROM registry.hibernation WHERE tenant_id = %(tenant_id)s
-- name: count
SELECT status, count(*), sum(stopped_again), count(problem) FROM registry.hibernation GROUP BY status ORDER BY status
