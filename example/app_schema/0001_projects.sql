-- A small project tracker. Every table of tenants carries tenant_id, and so does every key: a row can't refer to
-- another tenant's row, and a unique name is unique within a tenant. Row-level security is Tenantry's part.

-- tenantry: reference-table
CREATE TABLE task_status (
    status   text PRIMARY KEY,
    position smallint NOT NULL UNIQUE
);

INSERT INTO task_status (status, position) VALUES ('open', 1), ('doing', 2), ('done', 3);

CREATE TABLE project (
    tenant_id  text NOT NULL,
    project_id bigint GENERATED ALWAYS AS IDENTITY,
    name       text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, project_id),
    UNIQUE (tenant_id, name)
);

CREATE TABLE task (
    tenant_id  text NOT NULL,
    task_id    bigint GENERATED ALWAYS AS IDENTITY,
    project_id bigint NOT NULL,
    title      text NOT NULL CHECK (length(title) BETWEEN 1 AND 500),
    status     text NOT NULL DEFAULT 'open' REFERENCES task_status,
    due_on     date,
    PRIMARY KEY (tenant_id, task_id),
    FOREIGN KEY (tenant_id, project_id) REFERENCES project ON DELETE CASCADE
);

CREATE INDEX task_by_project ON task (tenant_id, project_id);
