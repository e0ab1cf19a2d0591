-- name: add
INSERT INTO registry.timeline (tenant_id, kind, summary, event_id, operation_id, detail)
VALUES (%(tenant_id)s, %(kind)s, %(summary)s, %(event_id)s, %(operation_id)s, %(detail)s)
-- name: of_tenant
SELECT entry_id, tenant_id, at, kind, summary, event_id, operation_id, detail FROM registry.timeline
 WHERE tenant_id = %(tenant_id)s ORDER BY entry_id DESC LIMIT %(limit)s
