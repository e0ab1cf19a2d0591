-- Run by the definer role, which owns everything here, in the transaction that makes or repairs a pool.

CREATE TABLE IF NOT EXISTS tenantry.pool_key (
    version    text PRIMARY KEY,                                   -- id of the secret version that holds the key
    ipad       bytea NOT NULL CHECK (length(ipad) = 64),            -- key xor 0x36: HMAC's inner block
    opad       bytea NOT NULL CHECK (length(opad) = 64),            -- key xor 0x5c: HMAC's outer block
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    retires_at timestamptz NOT NULL DEFAULT 'infinity'              -- a rotated key serves out its tokens' lives
);

CREATE TABLE IF NOT EXISTS tenantry.pool_tenant (
    tenant_id  text PRIMARY KEY,
    epoch      bigint NOT NULL CHECK (epoch >= 1),
    access     text NOT NULL CHECK (access IN ('full', 'read_only', 'suspended')),
    marker     text NOT NULL,                                      -- the stack that registered the tenant
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

REVOKE ALL ON tenantry.pool_key, tenantry.pool_tenant FROM PUBLIC;

-- The id of the tenant that the present transaction entered with a valid token, for row-level security policies:
-- `tenant_id = (SELECT tenantry.current_tenant())`, the parentheses making it one evaluation a statement.
--
-- A token is `expiry.epoch.mac`; the epoch of a tenant that may only read has an `r` behind it, which the code covers. One
-- without is what it always was, so that tokens of applications that run while a pool is brought to this release stay
-- good.
--
-- Everything wrong is SQLSTATE 42501. The shape of both settings is checked before any cast, so that no other error
-- can come up. Message authentication codes are compared as digests of themselves: the time a comparison takes tells
-- nothing about the code expected. clock_timestamp(), not now(): a long transaction does not outlive its token.
CREATE OR REPLACE FUNCTION tenantry.current_tenant() RETURNS text
    LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    tenant  CONSTANT text := nullif(current_setting('app.current_tenant', true), '');
    token   CONSTANT text := nullif(current_setting('app.tenant_token', true), '');
    parts   text[];
    message bytea;
BEGIN
    IF tenant IS NULL OR token IS NULL THEN
        RAISE EXCEPTION 'no tenant entered' USING ERRCODE = '42501',
            HINT = 'Set app.current_tenant and app.tenant_token in this transaction.';
    END IF;
    IF octet_length(tenant) > 63 OR tenant !~ '^[a-z][a-z0-9-]*$'
        OR octet_length(token) > 128 OR token !~ '^[0-9]{1,12}[.][0-9]{1,18}r?[.][0-9a-f]{64}$' THEN
        RAISE EXCEPTION 'tenant token malformed' USING ERRCODE = '42501';
    END IF;
    parts := string_to_array(token, '.');
    message := convert_to(tenant || '|' || parts[2] || '|' || parts[1], 'UTF8');
    IF NOT EXISTS (SELECT FROM tenantry.pool_key AS k
                    WHERE k.retires_at > clock_timestamp()
                      AND sha256(sha256(k.opad || sha256(k.ipad || message))) = sha256(decode(parts[3], 'hex'))) THEN
        RAISE EXCEPTION 'tenant token invalid' USING ERRCODE = '42501';
    END IF;
    IF parts[1]::bigint <= extract(epoch FROM clock_timestamp()) THEN
        RAISE EXCEPTION 'tenant token expired' USING ERRCODE = '42501', HINT = 'Ask the broker for another.';
    END IF;
    IF NOT EXISTS (SELECT FROM tenantry.pool_tenant AS p
                    WHERE p.tenant_id = tenant AND p.epoch = rtrim(parts[2], 'r')::bigint
                      AND p.access <> 'suspended') THEN
        RAISE EXCEPTION 'tenant has no access here' USING ERRCODE = '42501',
            HINT = 'It is suspended, has moved, or was removed: look its placement up again.';
    END IF;
    RETURN tenant;
END
$function$;

-- The same, of a tenant that may write: for what policies check of new rows, and of rows that are deleted. The register
-- counts as well as the token: a tenant that has become read-only does not write with a token from before.
CREATE OR REPLACE FUNCTION tenantry.writing_tenant() RETURNS text
    LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    tenant CONSTANT text := tenantry.current_tenant();
BEGIN
    IF split_part(current_setting('app.tenant_token', true), '.', 2) LIKE '%r'
        OR NOT EXISTS (SELECT FROM tenantry.pool_tenant AS p WHERE p.tenant_id = tenant AND p.access = 'full') THEN
        RAISE EXCEPTION 'tenant is read-only' USING ERRCODE = '25006',
            HINT = 'Its subscription decides; after a change of access enter it with a new token.';
    END IF;
    RETURN tenant;
END
$function$;

REVOKE ALL ON FUNCTION tenantry.current_tenant(), tenantry.writing_tenant() FROM PUBLIC;
