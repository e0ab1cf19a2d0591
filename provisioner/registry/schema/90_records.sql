-- Views over columns that several topics add.

-- A tenant with the payments of its customer that were taken back: what a decision is made on.
DROP VIEW IF EXISTS registry.tenant_record;
CREATE VIEW registry.tenant_record AS
SELECT t.tenant_id, t.generation, t.cell, t.state, t.stripe_customer_id, t.subscription_id, t.subscription_status, t.plan,
       t.tier, t.pending_graduation, t.access, t.features, t.limits, t.epoch, t.retain_until, t.destruction, t.spec,
       t.outputs, t.fingerprint, t.failure, t.attempts, t.next_attempt_at, t.created_at, t.updated_at, t.ready_at,
       t.access_since, t.access_reason, t.review_at, t.seats, t.billing,
       t.rates, t.soft_limits,
       (SELECT jsonb_agg(to_jsonb(c) ORDER BY c.created_at, c.case_id) FROM registry.payment_case c
         WHERE c.customer_id = t.stripe_customer_id) AS payment_cases
  FROM registry.tenant t;
