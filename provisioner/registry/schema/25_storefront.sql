-- Selling through our own API: who signs up with which id, what was asked of Stripe, whose trials there were.

-- One row an id that somebody signed up with. It is written before Stripe is asked for a customer.
CREATE TABLE IF NOT EXISTS registry.signup (
    tenant_id          text PRIMARY KEY,
    reference          text NOT NULL,           -- who signs up, as the application knows them; nobody else gets the id
    email              text NOT NULL,
    name               text,
    idempotency_key    uuid NOT NULL DEFAULT gen_random_uuid(),  -- of the customer's creation
    stripe_customer_id text UNIQUE,
    reserved_until     timestamptz NOT NULL,    -- from then on somebody else may have the id, unless it was paid for
    created_at         timestamptz NOT NULL DEFAULT now()
);

-- The checkout session that was asked for last: a lost answer is asked for again with the same key.
CREATE TABLE IF NOT EXISTS registry.checkout (
    tenant_id       text PRIMARY KEY,
    fingerprint     text NOT NULL,              -- of everything that was asked for
    idempotency_key uuid NOT NULL DEFAULT gen_random_uuid(),
    session_id      text,                       -- null: no answer yet
    created_at      timestamptz NOT NULL DEFAULT now()
);

-- What a subscription becomes when its period ends. It is written before Stripe is told.
CREATE TABLE IF NOT EXISTS registry.planned_change (
    tenant_id       text PRIMARY KEY,
    subscription_id text NOT NULL,
    plan            text NOT NULL,
    interval        text NOT NULL,
    seats           integer,                    -- null: the plan is not sold by the seat
    schedule_id     text,                       -- Stripe's schedule that will do it; null: not told yet
    requested_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS planned_change_untold ON registry.planned_change (requested_at) WHERE schedule_id IS NULL;

-- Why customers leave. One row a cancellation that came through our API; a resumed one keeps it, with the time.
CREATE TABLE IF NOT EXISTS registry.cancellation (
    cancellation_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id       text NOT NULL,
    subscription_id text NOT NULL,
    plan            text NOT NULL,
    at_period_end   boolean NOT NULL,
    feedback        text,                       -- one of Stripe's cancellation_details[feedback]
    comment         text,
    requested_at    timestamptz NOT NULL DEFAULT now(),
    resumed_at      timestamptz
);
CREATE INDEX IF NOT EXISTS cancellation_tenant ON registry.cancellation (tenant_id, cancellation_id);

-- Every trial that a subscription had, however it was made.
CREATE TABLE IF NOT EXISTS registry.trial (
    subscription_id text PRIMARY KEY,
    tenant_id       text NOT NULL,
    customer_id     text NOT NULL,
    identity        text,                       -- the company's domain, or an address; null: the customer has none
    started_at      timestamptz NOT NULL,
    ends_at         timestamptz NOT NULL,
    refused         boolean NOT NULL DEFAULT false  -- as decided last
);
CREATE INDEX IF NOT EXISTS trial_identity ON registry.trial (identity, started_at);
CREATE INDEX IF NOT EXISTS trial_customer ON registry.trial (customer_id, started_at);
CREATE INDEX IF NOT EXISTS trial_ends ON registry.trial (ends_at);

-- Trials in checkouts that are open: two sign-ups of one company at once get one between them.
CREATE TABLE IF NOT EXISTS registry.trial_offer (
    identity    text PRIMARY KEY,
    tenant_id   text NOT NULL,
    open_until  timestamptz NOT NULL
);

-- An operator lets a tenant have a trial that would not be its company's first.
CREATE TABLE IF NOT EXISTS registry.trial_exception (
    exception_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id    text NOT NULL,
    allowed_by   text NOT NULL,
    reason       text NOT NULL,
    allowed_at   timestamptz NOT NULL DEFAULT now(),
    used_by      text UNIQUE                    -- the subscription whose trial it is for; null: the next one
);
CREATE UNIQUE INDEX IF NOT EXISTS trial_exception_unused ON registry.trial_exception (tenant_id) WHERE used_by IS NULL;
