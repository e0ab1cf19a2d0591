-- The control plane's tables. Applied by provisioner.registry.migrate under an advisory lock; every statement may run again.

CREATE SCHEMA IF NOT EXISTS registry;
CREATE SCHEMA IF NOT EXISTS tenantry_v1;

-- One row a tenant id. `generation` is which life of the id this is.
CREATE TABLE IF NOT EXISTS registry.tenant (
    tenant_id            text PRIMARY KEY,
    generation           integer NOT NULL DEFAULT 1,
    cell                 text NOT NULL DEFAULT 'default',
    state                text NOT NULL DEFAULT 'pending',
    stripe_customer_id   text UNIQUE,
    subscription_id      text,
    subscription_status  text,
    plan                 text,
    tier                 text,              -- where the tenant stands; before it stands, where it will
    pending_graduation   text,              -- the tier it pays for when that is not the one it stands in
    access               text NOT NULL DEFAULT 'full',
    features             text[] NOT NULL DEFAULT '{}',
    limits               jsonb NOT NULL DEFAULT '{}',
    epoch                bigint NOT NULL DEFAULT 1,
    retain_until         timestamptz,       -- data is kept until then; set when the subscription ends
    destruction          jsonb,             -- who authorised it, when and why
    spec                 jsonb,
    outputs              jsonb,
    fingerprint          text,              -- of what the last successful operation made; null: never, or unknown
    failure              jsonb,             -- {class, code, message, hint, at} of the last failed attempt
    attempts             integer NOT NULL DEFAULT 0,
    next_attempt_at      timestamptz,       -- when a failed tenant is due again
    created_at           timestamptz NOT NULL DEFAULT now(),
    updated_at           timestamptz NOT NULL DEFAULT now(),
    ready_at             timestamptz
);
ALTER TABLE registry.tenant ADD COLUMN IF NOT EXISTS access_since timestamptz;   -- since when the access is what it is
ALTER TABLE registry.tenant ADD COLUMN IF NOT EXISTS access_reason text;         -- provisioner.billing.verdict.Reason
ALTER TABLE registry.tenant ADD COLUMN IF NOT EXISTS review_at timestamptz;      -- when time alone will change the access
ALTER TABLE registry.tenant ADD COLUMN IF NOT EXISTS seats integer;              -- paid for; null: not sold by the seat
-- What the last decision saw of Stripe: subscription, dates, open payments. For people and messages, never decided on.
ALTER TABLE registry.tenant ADD COLUMN IF NOT EXISTS billing jsonb NOT NULL DEFAULT '{}';
CREATE INDEX IF NOT EXISTS tenant_review ON registry.tenant (review_at) WHERE review_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS tenant_due ON registry.tenant (next_attempt_at) WHERE next_attempt_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS tenant_retained ON registry.tenant (retain_until) WHERE retain_until IS NOT NULL;
CREATE INDEX IF NOT EXISTS tenant_subscription ON registry.tenant (subscription_id);

-- Payments that were taken back: disputes, and charges refunded in full. By customer: it may be told before its tenant.
CREATE TABLE IF NOT EXISTS registry.payment_case (
    case_id         text PRIMARY KEY,       -- of the dispute, or of the refunded charge
    kind            text NOT NULL CHECK (kind IN ('dispute', 'refund')),
    customer_id     text NOT NULL,
    subscription_id text,                   -- what the payment was for; null: unknown
    status          text NOT NULL,          -- of the dispute; of a refund `full`, `partial` or, if it failed, `none`
    amount          bigint NOT NULL,        -- disputed or refunded, smallest unit of the currency
    currency        text NOT NULL,
    created_at      timestamptz NOT NULL,
    period_end      timestamptz,            -- of what the payment was for
    updated_at      timestamptz NOT NULL DEFAULT now()
);
-- When the look at Stripe began that the row comes from: an older one, that ended later, changes nothing.
ALTER TABLE registry.payment_case ADD COLUMN IF NOT EXISTS looked_at timestamptz NOT NULL DEFAULT '-infinity';
CREATE INDEX IF NOT EXISTS payment_case_customer ON registry.payment_case (customer_id);

-- Where a tenant lives now. The row exists while the tenant stands.
CREATE TABLE IF NOT EXISTS registry.placement (
    tenant_id        text PRIMARY KEY REFERENCES registry.tenant,
    generation       integer NOT NULL,
    cell             text NOT NULL,
    region           text NOT NULL,
    tier             text NOT NULL,
    epoch            bigint NOT NULL,
    access           text NOT NULL,
    db_host          text NOT NULL,
    db_port          integer NOT NULL,
    db_name          text NOT NULL,
    db_schema        text NOT NULL,
    db_login         text NOT NULL,
    login_secret_arn text NOT NULL,
    token_secret_arn text,              -- the pool's HMAC key; null for a login of the tenant's own
    bucket           text NOT NULL,
    prefix           text NOT NULL,
    kms_key_arn      text NOT NULL,
    role_arn         text NOT NULL,
    app_schema_version integer NOT NULL,
    updated_at       timestamptz NOT NULL DEFAULT now()
);

-- What Stripe sent, as it came.
CREATE TABLE IF NOT EXISTS registry.event (
    event_id     text PRIMARY KEY,
    type         text NOT NULL,
    object_id    text,
    api_version  text,
    created_at   timestamptz,
    livemode     boolean NOT NULL,
    body         bytea NOT NULL,
    status       text NOT NULL DEFAULT 'received' CHECK (status IN ('received', 'ignored', 'processed', 'quarantined')),
    reason       text,
    hint         text,
    tenant_id    text,
    received_at  timestamptz NOT NULL DEFAULT now(),
    processed_at timestamptz
);
ALTER TABLE registry.event ADD COLUMN IF NOT EXISTS refetch_id text;  -- what its job loads anew; null: nothing
-- Events of one object that wait are answered by one look at it.
CREATE INDEX IF NOT EXISTS event_waiting ON registry.event (refetch_id) WHERE status = 'received';
CREATE INDEX IF NOT EXISTS event_received ON registry.event (received_at);
CREATE INDEX IF NOT EXISTS event_open ON registry.event (received_at) WHERE status IN ('received', 'quarantined');
CREATE INDEX IF NOT EXISTS event_tenant ON registry.event (tenant_id, received_at);

-- One run that changes a stack.
CREATE TABLE IF NOT EXISTS registry.operation (
    operation_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id    text,                     -- null: a platform stack
    stack_name   text NOT NULL,
    kind         text NOT NULL,
    status       text NOT NULL DEFAULT 'running'
                 CHECK (status IN ('running', 'succeeded', 'failed', 'interrupted', 'blocked', 'awaiting_approval')),
    reason       text NOT NULL,
    fencing      bigint NOT NULL,
    holder       text NOT NULL,
    changes      jsonb NOT NULL DEFAULT '{}',
    error        jsonb,
    seconds      double precision,
    started_at   timestamptz NOT NULL DEFAULT now(),
    finished_at  timestamptz
);
ALTER TABLE registry.operation DROP CONSTRAINT IF EXISTS operation_status_check;
ALTER TABLE registry.operation ADD CONSTRAINT operation_status_check
    CHECK (status IN ('running', 'succeeded', 'failed', 'interrupted', 'blocked', 'awaiting_approval'));
CREATE INDEX IF NOT EXISTS operation_tenant ON registry.operation (tenant_id, operation_id);
CREATE INDEX IF NOT EXISTS operation_running ON registry.operation (stack_name) WHERE status = 'running';

-- What an operation did to one resource; written while it runs.
CREATE TABLE IF NOT EXISTS registry.operation_step (
    operation_id bigint NOT NULL REFERENCES registry.operation ON DELETE CASCADE,
    urn          text NOT NULL,
    type         text NOT NULL,
    name         text NOT NULL,
    op           text NOT NULL,
    status       text NOT NULL CHECK (status IN ('running', 'done', 'failed')),
    seconds      double precision,
    message      text,
    started_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (operation_id, urn)
);

-- What an operation would have destroyed, and what an operator said to it. The answer is to the very diff.
CREATE TABLE IF NOT EXISTS registry.approval (
    operation_id bigint PRIMARY KEY REFERENCES registry.operation ON DELETE CASCADE,
    tenant_id    text,                     -- null: a platform stack
    stack_name   text NOT NULL,
    diff_hash    text NOT NULL,            -- SHA-256 of `diff`, hexadecimal
    diff         jsonb NOT NULL,
    requested_at timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL,
    decision     text CHECK (decision IN ('approved', 'rejected', 'superseded')),
    decided_by   text,
    decided_at   timestamptz,
    reason       text,
    used_by      bigint                    -- the operation that relied on it
);
CREATE INDEX IF NOT EXISTS approval_stack ON registry.approval (stack_name, operation_id);

CREATE TABLE IF NOT EXISTS registry.timeline (
    entry_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id    text NOT NULL,
    at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    kind         text NOT NULL,
    summary      text NOT NULL,
    event_id     text,
    operation_id bigint,
    detail       jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX IF NOT EXISTS timeline_tenant ON registry.timeline (tenant_id, entry_id);

-- Who may change a stack. The number rises with every acquisition and never falls.
CREATE TABLE IF NOT EXISTS registry.lease (
    stack_name     text PRIMARY KEY,
    fencing        bigint NOT NULL,
    holder         text NOT NULL,          -- host/pid/random
    host           text NOT NULL,
    pid            integer NOT NULL,
    engine_host    text,                   -- the engine that ran last, perhaps under an earlier lease
    engine_pid     integer,
    engine_started double precision,       -- Unix seconds; a pid alone may have been given to another process
    acquired_at    timestamptz NOT NULL DEFAULT now(),
    heartbeat_at   timestamptz NOT NULL DEFAULT now(),
    released_at    timestamptz
);

ALTER TABLE registry.lease ADD COLUMN IF NOT EXISTS engine_host text;

-- What the tenants of a cell share.
CREATE TABLE IF NOT EXISTS registry.platform (
    cell        text PRIMARY KEY,
    spec        jsonb NOT NULL,
    outputs     jsonb,
    fingerprint text,
    updated_at  timestamptz NOT NULL DEFAULT now()
);

-- Public keys of this installation's evidence; former ones stay, so that what they signed can be verified.
CREATE TABLE IF NOT EXISTS registry.evidence_key (
    key_id        text PRIMARY KEY,         -- sha256:... of its DER
    public_key    text NOT NULL,            -- PEM
    first_used_at timestamptz NOT NULL DEFAULT now(),
    revoked_at    timestamptz,              -- what it signed is not believed any more
    revoked       text                      -- by whom and why
);
ALTER TABLE registry.evidence_key ADD COLUMN IF NOT EXISTS revoked_at timestamptz;
ALTER TABLE registry.evidence_key ADD COLUMN IF NOT EXISTS revoked text;

-- One run of the proof of isolation, or why there was none.
CREATE TABLE IF NOT EXISTS registry.proof (
    proof_id     uuid PRIMARY KEY,
    scope        text NOT NULL CHECK (scope IN ('tenant', 'pair', 'all')),
    tenant_ids   text[] NOT NULL,           -- who was named; empty for all
    cell         text NOT NULL,
    fast         boolean NOT NULL,
    trigger      text NOT NULL CHECK (trigger IN ('operator', 'operation', 'nightly')),
    operation_id bigint,
    status       text NOT NULL CHECK (status IN ('isolated', 'not_isolated', 'not_run')),
    reason       text,                      -- why it did not run, or what failed
    attempts     integer NOT NULL DEFAULT 0,
    failed       integer NOT NULL DEFAULT 0,
    started_at   timestamptz NOT NULL,
    ended_at     timestamptz NOT NULL,
    digest       text,
    signature    text,
    key_id       text REFERENCES registry.evidence_key,
    document     bytea                      -- the file as it was signed: a jsonb would be other bytes
);
CREATE INDEX IF NOT EXISTS proof_ended ON registry.proof (ended_at);

-- The last word on a tenant's isolation, by thoroughness.
CREATE TABLE IF NOT EXISTS registry.tenant_proof (
    tenant_id  text NOT NULL,
    fast       boolean NOT NULL,
    generation integer NOT NULL,
    proof_id   uuid NOT NULL,
    status     text NOT NULL CHECK (status IN ('isolated', 'not_isolated', 'not_run')),
    reason     text,
    at         timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, fast)
);

ALTER TABLE registry.platform ADD COLUMN IF NOT EXISTS failure jsonb;  -- of its last update, if only an operator can mend it

CREATE OR REPLACE FUNCTION registry.notify_placement() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('tenantry_placement', coalesce(NEW.tenant_id, OLD.tenant_id));
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER placement_changed AFTER INSERT OR UPDATE OR DELETE ON registry.placement
    FOR EACH ROW EXECUTE FUNCTION registry.notify_placement();
CREATE OR REPLACE TRIGGER entitlements_changed AFTER UPDATE OF plan, features, limits ON registry.tenant
    FOR EACH ROW WHEN (OLD.plan IS DISTINCT FROM NEW.plan OR OLD.features IS DISTINCT FROM NEW.features
                       OR OLD.limits IS DISTINCT FROM NEW.limits)
    EXECUTE FUNCTION registry.notify_placement();

CREATE OR REPLACE FUNCTION registry.notify_operation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('tenantry_operation', NEW.operation_id::text);
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER operation_changed AFTER INSERT OR UPDATE ON registry.operation
    FOR EACH ROW EXECUTE FUNCTION registry.notify_operation();
CREATE OR REPLACE TRIGGER operation_step_changed AFTER INSERT OR UPDATE ON registry.operation_step
    FOR EACH ROW EXECUTE FUNCTION registry.notify_operation();

-- The SDK's contract. A new version is a new schema; this one keeps its columns.
CREATE OR REPLACE VIEW tenantry_v1.placement AS
SELECT p.tenant_id, p.generation, p.cell, p.region, p.tier, p.epoch, p.access, p.db_host, p.db_port, p.db_name, p.db_schema,
       p.db_login, p.bucket, p.prefix, p.kms_key_arn, p.role_arn, t.plan, t.features, t.limits,
       greatest(p.updated_at, t.updated_at) AS updated_at, t.access_reason, t.access_since
  FROM registry.placement p JOIN registry.tenant t USING (tenant_id);
