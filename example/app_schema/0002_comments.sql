CREATE TABLE comment (
    tenant_id  text NOT NULL,
    comment_id bigint GENERATED ALWAYS AS IDENTITY,
    task_id    bigint NOT NULL,
    author     text NOT NULL,
    body       text NOT NULL,
    written_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, comment_id),
    FOREIGN KEY (tenant_id, task_id) REFERENCES task ON DELETE CASCADE
);

CREATE INDEX comment_by_task ON comment (tenant_id, task_id);

CREATE VIEW open_task WITH (security_invoker = true) AS
    SELECT task.tenant_id, task.task_id, task.title, task.due_on, project.name AS project,
           (SELECT count(*) FROM comment c WHERE (c.tenant_id, c.task_id) = (task.tenant_id, task.task_id)) AS comments
      FROM task JOIN project USING (tenant_id, project_id)
     WHERE task.status <> 'done';
