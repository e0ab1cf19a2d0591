-- name: supersede
UPDATE registry.approval SET decision = 'superseded', decided_at = now()
 WHERE stack_name = %(stack_name)s AND decision IS NULL
-- name: request
INSERT INTO registry.approval (operation_id, tenant_id, stack_name, diff_hash, diff, expires_at)
VALUES (%(operation_id)s, %(tenant_id)s, %(stack_name)s, %(diff_hash)s, %(diff)s, now() + %(valid_for)s)
-- name: get
SELECT * FROM registry.approval WHERE operation_id = %(operation_id)s
-- name: list
SELECT * FROM registry.approval
 WHERE (%(open)s IS FALSE OR (decision IS NULL AND expires_at > now())) ORDER BY operation_id DESC LIMIT %(limit)s
-- name: decide
UPDATE registry.approval
   SET decision = %(decision)s, decided_by = %(decided_by)s, decided_at = now(), reason = %(reason)s
 WHERE operation_id = %(operation_id)s AND diff_hash = %(diff_hash)s AND expires_at > now()
   -- An approval that nothing has relied on yet can be taken back.
   AND (decision IS NULL OR (decision = 'approved' AND used_by IS NULL AND %(decision)s::text = 'rejected'))
RETURNING operation_id
-- name: approved
SELECT diff_hash FROM registry.approval
 WHERE stack_name = %(stack_name)s AND decision = 'approved' AND used_by IS NULL AND expires_at > now()
-- name: use
UPDATE registry.approval SET used_by = %(used_by)s
 WHERE stack_name = %(stack_name)s AND diff_hash = %(diff_hash)s AND decision = 'approved' AND used_by IS NULL
