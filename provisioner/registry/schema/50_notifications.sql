-- Messages to customers, what is known of whom they go to, and what became of overdue payments.

-- The outbox. A row is written once for each thing that there is to tell, in the transaction that decided it.
CREATE TABLE IF NOT EXISTS registry.notification (
    notification_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id       text NOT NULL,
    generation      integer NOT NULL,
    kind            text NOT NULL,
    occasion        text NOT NULL,          -- what makes it the only one of its kind: an invoice and its attempt, a step's time
    fields          jsonb NOT NULL,         -- what its templates get
    recipient       jsonb NOT NULL,         -- e-mail, name, locales, country, time_zone; as Stripe had them
    status          text NOT NULL DEFAULT 'pending'
                    CHECK (status IN ('pending', 'sending', 'sent', 'refused', 'failed', 'expired', 'withdrawn', 'quarantined')),
    send_after      timestamptz NOT NULL,   -- billing time, as the next one
    expires_at      timestamptz NOT NULL,   -- of no use from then on
    attempts        integer NOT NULL DEFAULT 0,
    retry_at        timestamptz,            -- this machine's time, as all below
    claim           uuid,                   -- of the process that is sending it
    claimed_until   timestamptz,
    attempted_at    timestamptz,
    planned_at      timestamptz NOT NULL DEFAULT now(),
    sent_at         timestamptz,
    sent_at_billing timestamptz,            -- the same moment in billing time
    message_id      text,
    smtp_code       integer,
    reason          text,                   -- why it is what it is, for operators
    UNIQUE (tenant_id, generation, kind, occasion)
);
CREATE INDEX IF NOT EXISTS notification_waiting ON registry.notification (send_after, notification_id)
    WHERE status IN ('pending', 'sending');
CREATE INDEX IF NOT EXISTS notification_attempted ON registry.notification (attempted_at) WHERE attempted_at IS NOT NULL;

-- What was seen when a tenant was last looked at, and when it is looked at again.
CREATE TABLE IF NOT EXISTS registry.notification_profile (
    tenant_id  text PRIMARY KEY,
    generation integer NOT NULL,
    state      text NOT NULL,
    recipient  jsonb NOT NULL DEFAULT '{}',
    seen_entry bigint NOT NULL DEFAULT 0,   -- the newest timeline entry then
    looked_at  timestamptz NOT NULL,        -- billing time, as the next one
    look_at    timestamptz NOT NULL,
    failure    text,                        -- why the last look failed
    attempts   integer NOT NULL DEFAULT 0,
    retry_at   timestamptz                  -- this machine's time
);
CREATE INDEX IF NOT EXISTS notification_profile_look ON registry.notification_profile (look_at);

-- From the first failed payment until everything is paid, or the subscription is over. Times are billing times.
CREATE TABLE IF NOT EXISTS registry.dunning_episode (
    episode_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id       text NOT NULL,
    generation      integer NOT NULL,
    subscription_id text NOT NULL,
    plan            text,
    opened_at       timestamptz NOT NULL,
    amount          bigint NOT NULL,        -- the most that was owed, in the currency's smallest unit
    currency        text NOT NULL,
    attempts        integer NOT NULL,
    steps           jsonb NOT NULL DEFAULT '[]',  -- [{access, at}], in order
    step            text NOT NULL,          -- the furthest that was reached
    last_kind       text,                   -- of the message sent last before it was closed
    closed_at       timestamptz,
    outcome         text CHECK (outcome IN ('recovered', 'lost')),
    UNIQUE (tenant_id, generation, subscription_id, opened_at)
);
CREATE UNIQUE INDEX IF NOT EXISTS dunning_episode_open ON registry.dunning_episode (tenant_id) WHERE closed_at IS NULL;
CREATE INDEX IF NOT EXISTS dunning_episode_opened ON registry.dunning_episode (opened_at);

-- Why subscriptions were cancelled: Stripe's cancellation_details.
CREATE TABLE IF NOT EXISTS registry.cancellation_detail (
    subscription_id text PRIMARY KEY,
    tenant_id       text NOT NULL,
    plan            text,
    reason          text,
    feedback        text,
    comment         text,
    canceled_at     timestamptz,            -- when it was asked for
    ended_at        timestamptz             -- null: it has not ended yet
);
