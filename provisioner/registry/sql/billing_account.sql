-- name: get
SELECT account_id, livemode, recorded_at, recorded_by FROM registry.billing_account
-- name: record
INSERT INTO registry.billing_account (account_id, livemode, recorded_by) VALUES (%(account_id)s, %(livemode)s, %(by)s)
ON CONFLICT DO NOTHING
-- name: replace
INSERT INTO registry.billing_account (account_id, livemode, recorded_by) VALUES (%(account_id)s, %(livemode)s, %(by)s)
ON CONFLICT (only_one) DO UPDATE
   SET account_id = excluded.account_id, livemode = excluded.livemode, recorded_by = excluded.recorded_by, recorded_at = now()
