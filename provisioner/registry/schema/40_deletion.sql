-- The end of a tenant: one row a deletion of one life of the id. What is done is in `step`; a crash goes on from there.
CREATE TABLE IF NOT EXISTS registry.deletion (
    deletion_id    uuid PRIMARY KEY,
    tenant_id      text NOT NULL,
    generation     integer NOT NULL,
    cause          text NOT NULL CHECK (cause IN ('retention', 'operator', 'erasure')),
    requested_by   text NOT NULL,
    reason         text NOT NULL,
    requested_at   timestamptz NOT NULL,
    method         text NOT NULL CHECK (method IN ('crypto_shred', 'archive')),
    forget_customer boolean NOT NULL DEFAULT false,    -- whether Stripe's customer is deleted too
    step           text NOT NULL DEFAULT 'requested'
                   CHECK (step IN ('requested', 'exported', 'purged', 'destroyed', 'complete', 'called_off')),
    operation_mark bigint NOT NULL DEFAULT 0,          -- last operation before the final export: a later one outdates it
    tenant         jsonb NOT NULL,                     -- {tier, cell, plan, stood} as it stood
    export         jsonb,                              -- what the final export held: {digest, size, tables, rows, files, ...}
    copy_name      text,                               -- of the copy that is kept, in the store of exports and archives
    copy_until     timestamptz,                        -- when that copy is deleted
    copy_removed_at timestamptz,
    files          jsonb,                              -- {objects, versions, delete_markers, uploads} before the purge
    resources      jsonb,                              -- [{type, id}] of the stack before its destruction
    redacted       jsonb,                              -- {events, timeline}
    destroyed_at   timestamptz,
    completed_at   timestamptz,
    certificate    bytea,                              -- the file as it was signed
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX IF NOT EXISTS deletion_open ON registry.deletion (tenant_id, generation)
    WHERE step NOT IN ('complete', 'called_off');
CREATE INDEX IF NOT EXISTS deletion_tenant ON registry.deletion (tenant_id, created_at);
CREATE INDEX IF NOT EXISTS deletion_copy ON registry.deletion (copy_until)
    WHERE copy_name IS NOT NULL AND copy_removed_at IS NULL;

-- All but the certificate, which is read for itself.
CREATE OR REPLACE VIEW registry.deletion_record AS
SELECT deletion_id::text AS deletion_id, tenant_id, generation, cause, requested_by, reason, requested_at, method, forget_customer,
       step, operation_mark, tenant, export, copy_name, copy_until, copy_removed_at, files, resources, redacted, destroyed_at,
       completed_at, created_at
  FROM registry.deletion;
