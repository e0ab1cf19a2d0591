-- name: put
INSERT INTO registry.payment_case (case_id, kind, customer_id, subscription_id, status, amount, currency, created_at, period_end)
VALUES (%(case_id)s, %(kind)s, %(customer_id)s, %(subscription_id)s, %(status)s, %(amount)s, %(currency)s,
        to_timestamp(%(created)s), to_timestamp(%(period_end)s))
ON CONFLICT (case_id) DO UPDATE
   SET subscription_id = excluded.subscription_id, status = excluded.status, amount = excluded.amount,
       period_end = excluded.period_end, updated_at = now()
 WHERE (payment_case.subscription_id, payment_case.status, payment_case.amount, payment_case.period_end)
       IS DISTINCT FROM (excluded.subscription_id, excluded.status, excluded.amount, excluded.period_end)
