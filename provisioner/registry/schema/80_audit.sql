-- What audits found: one row a finding, from the run that saw it first to the one that missed it.
CREATE TABLE IF NOT EXISTS registry.audit_finding (
    kind          text NOT NULL,               -- provisioner.audit.findings.FindingKind
    subject       text NOT NULL,               -- id of what it is about
    tenant_id     text,
    what          text NOT NULL,
    fix           text NOT NULL,
    fixable       boolean NOT NULL,            -- `tenantry audit --fix` does something about it
    first_seen_at timestamptz NOT NULL DEFAULT now(),
    last_seen_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (kind, subject)
);

CREATE TABLE IF NOT EXISTS registry.audit_run (
    run_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    started_at timestamptz NOT NULL,
    ended_at   timestamptz NOT NULL DEFAULT now(),
    nightly    boolean NOT NULL,
    tenants    integer NOT NULL,
    findings   integer NOT NULL,
    complete   boolean NOT NULL                 -- whether all three parties could be read
);
