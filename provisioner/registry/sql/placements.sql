-- name: put
INSERT INTO registry.placement (tenant_id, generation, cell, region, tier, epoch, access, db_host, db_port, db_name,
                                db_schema, db_login, login_secret_arn, token_secret_arn, bucket, prefix, kms_key_arn,
                                role_arn, app_schema_version)
VALUES (%(tenant_id)s, %(generation)s, %(cell)s, %(region)s, %(tier)s, %(epoch)s, %(access)s, %(db_host)s, %(db_port)s,
        %(db_name)s, %(db_schema)s, %(db_login)s, %(login_secret_arn)s, %(token_secret_arn)s, %(bucket)s, %(prefix)s,
        %(kms_key_arn)s, %(role_arn)s, %(app_schema_version)s)
ON CONFLICT (tenant_id) DO UPDATE
   SET generation = excluded.generation, cell = excluded.cell, region = excluded.region, tier = excluded.tier,
       epoch = excluded.epoch, access = excluded.access, db_host = excluded.db_host, db_port = excluded.db_port,
       db_name = excluded.db_name, db_schema = excluded.db_schema, db_login = excluded.db_login,
       login_secret_arn = excluded.login_secret_arn, token_secret_arn = excluded.token_secret_arn,
       bucket = excluded.bucket, prefix = excluded.prefix, kms_key_arn = excluded.kms_key_arn,
       role_arn = excluded.role_arn, app_schema_version = excluded.app_schema_version, updated_at = now()
-- name: get
SELECT * FROM registry.placement WHERE tenant_id = %(tenant_id)s
-- name: set_access
UPDATE registry.placement SET access = %(access)s, updated_at = now()
 WHERE tenant_id = %(tenant_id)s AND access <> %(access)s
-- name: delete
DELETE FROM registry.placement WHERE tenant_id = %(tenant_id)s
