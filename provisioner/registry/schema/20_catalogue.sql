-- Which account of Stripe the installation bills through, and how subscribers are moved from one price to another.

-- One row: a key of another account, or of the other mode, is refused.
CREATE TABLE IF NOT EXISTS registry.billing_account (
    only_one    boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    account_id  text NOT NULL,
    livemode    boolean NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    recorded_by text NOT NULL
);

-- A move of subscribers from a price to another. There is one between two prices at a time.
CREATE TABLE IF NOT EXISTS registry.price_migration (
    migration_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    from_price         text NOT NULL,
    to_price           text NOT NULL,
    plan               text NOT NULL,
    effective          text NOT NULL CHECK (effective IN ('now', 'renewal')),
    proration_behavior text NOT NULL,
    status             text NOT NULL DEFAULT 'running' CHECK (status IN ('running', 'stopped', 'finished')),
    reason             text,                 -- why it stopped
    started_by         text NOT NULL,
    started_at         timestamptz NOT NULL DEFAULT now(),
    finished_at        timestamptz
);
CREATE UNIQUE INDEX IF NOT EXISTS price_migration_open ON registry.price_migration (from_price)
    WHERE status <> 'finished';

-- One subscription of it. `moving` is written before Stripe is told, so that a crash is recognised.
CREATE TABLE IF NOT EXISTS registry.price_migration_item (
    migration_id    bigint NOT NULL REFERENCES registry.price_migration ON DELETE CASCADE,
    subscription_id text NOT NULL,
    tenant_id       text,
    status          text NOT NULL CHECK (status IN ('moving', 'moved', 'failed', 'skipped')),
    wave            integer NOT NULL,
    schedule_id     text,                    -- of a move at the renewal
    reason          text,                    -- why it failed or was skipped
    attempts        integer NOT NULL DEFAULT 1,
    updated_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (migration_id, subscription_id)
);
