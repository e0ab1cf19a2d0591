-- name: clock
SELECT clock_timestamp()
-- name: put
INSERT INTO registry.payment_case AS c (case_id, kind, customer_id, subscription_id, status, amount, currency, created_at,
                                        period_end, looked_at)
VALUES (%(case_id)s, %(kind)s, %(customer_id)s, %(subscription_id)s, %(status)s, %(amount)s, %(currency)s,
        to_timestamp(%(created)s), to_timestamp(%(period_end)s), %(looked_at)s)
ON CONFLICT (case_id) DO UPDATE
   SET subscription_id = excluded.subscription_id, status = excluded.status, amount = excluded.amount,
       created_at = CASE WHEN (c.status, c.amount) IS DISTINCT FROM (excluded.status, excluded.amount)
                         THEN excluded.created_at ELSE c.created_at END,
       period_end = excluded.period_end, looked_at = excluded.looked_at, updated_at = now()
 WHERE c.looked_at <= excluded.looked_at
