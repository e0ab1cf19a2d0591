-- Access that is real: what applications are told of it, and instances that sleep.

-- Why a tenant may only read can change while it may only read.
CREATE OR REPLACE TRIGGER access_reason_changed AFTER UPDATE OF access_reason, access_since ON registry.tenant
    FOR EACH ROW WHEN (OLD.access_reason IS DISTINCT FROM NEW.access_reason
                       OR OLD.access_since IS DISTINCT FROM NEW.access_since)
    EXECUTE FUNCTION registry.notify_placement();

-- One row a tenant whose instance is stopped: what the keeper last saw of it. It goes when the tenant wakes.
CREATE TABLE IF NOT EXISTS registry.hibernation (
    tenant_id   text PRIMARY KEY REFERENCES registry.tenant,
    generation  integer NOT NULL,
    identifier  text NOT NULL,              -- of the RDS instance
    status      text NOT NULL,              -- as RDS says it
    stopped_again integer NOT NULL DEFAULT 0, -- how often AWS had started it and it was stopped again
    problem     text,                       -- why it could not be stopped
    seen_at     timestamptz NOT NULL,
    since       timestamptz NOT NULL DEFAULT now()
);
