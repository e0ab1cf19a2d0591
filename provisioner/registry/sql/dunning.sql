-- name: current
SELECT * FROM registry.dunning_episode WHERE tenant_id = %(tenant_id)s AND closed_at IS NULL
-- name: latest_recovered
SELECT * FROM registry.dunning_episode
 WHERE tenant_id = %(tenant_id)s AND generation = %(generation)s AND outcome = 'recovered'
 ORDER BY closed_at DESC LIMIT 1
-- name: open
INSERT INTO registry.dunning_episode (tenant_id, generation, subscription_id, plan, opened_at, amount, currency, attempts,
                                      steps, step)
VALUES (%(tenant_id)s, %(generation)s, %(subscription_id)s, %(plan)s, %(opened_at)s, %(amount)s, %(currency)s,
        %(attempts)s, %(steps)s, %(step)s)
ON CONFLICT (tenant_id, generation, subscription_id, opened_at) DO UPDATE SET closed_at = NULL, outcome = NULL
-- name: update
UPDATE registry.dunning_episode
   SET amount = %(amount)s, attempts = %(attempts)s, steps = %(steps)s, step = %(step)s
 WHERE episode_id = %(episode_id)s
-- name: close
UPDATE registry.dunning_episode e
   SET closed_at = %(closed_at)s, outcome = %(outcome)s, steps = %(steps)s, step = %(step)s, attempts = %(attempts)s,
       last_kind = (SELECT n.kind FROM registry.notification n
                     WHERE n.tenant_id = e.tenant_id AND n.generation = e.generation AND n.status = 'sent'
                       AND n.sent_at_billing >= e.opened_at AND n.sent_at_billing <= %(closed_at)s
                       AND n.kind IN ('payment_failed', 'payment_action_required', 'access_ahead', 'access_changed')
                     ORDER BY n.sent_at_billing DESC LIMIT 1)
 WHERE episode_id = %(episode_id)s
-- name: by_step
SELECT step, count(*) AS episodes, count(*) FILTER (WHERE outcome = 'recovered') AS recovered,
       count(*) FILTER (WHERE outcome = 'lost') AS lost, count(*) FILTER (WHERE closed_at IS NULL) AS open,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM closed_at - opened_at) / 86400)
           FILTER (WHERE outcome = 'recovered') AS median_days
  FROM registry.dunning_episode WHERE opened_at >= %(since)s GROUP BY step
-- name: by_message
SELECT coalesce(last_kind, 'none') AS kind, count(*) AS recovered
  FROM registry.dunning_episode WHERE opened_at >= %(since)s AND outcome = 'recovered' GROUP BY 1 ORDER BY 2 DESC, 1
-- name: by_currency
SELECT currency, coalesce(sum(amount) FILTER (WHERE outcome = 'recovered'), 0)::bigint AS recovered,
       coalesce(sum(amount) FILTER (WHERE outcome = 'lost'), 0)::bigint AS lost,
       coalesce(sum(amount) FILTER (WHERE closed_at IS NULL), 0)::bigint AS open
  FROM registry.dunning_episode WHERE opened_at >= %(since)s GROUP BY 1 ORDER BY 1
-- name: count
SELECT step, coalesce(outcome, 'open'), count(*) FROM registry.dunning_episode GROUP BY 1, 2
-- name: put_cancellation
INSERT INTO registry.cancellation_detail AS c (subscription_id, tenant_id, plan, reason, feedback, comment, canceled_at, ended_at)
VALUES (%(subscription_id)s, %(tenant_id)s, %(plan)s, %(reason)s, %(feedback)s, %(comment)s, %(canceled_at)s, %(ended_at)s)
ON CONFLICT (subscription_id) DO UPDATE
   SET plan = excluded.plan, reason = excluded.reason, feedback = excluded.feedback, comment = excluded.comment,
       canceled_at = excluded.canceled_at, ended_at = excluded.ended_at
 WHERE (c.reason, c.feedback, c.comment, c.canceled_at, c.ended_at)
       IS DISTINCT FROM (excluded.reason, excluded.feedback, excluded.comment, excluded.canceled_at, excluded.ended_at)
-- name: resumed
DELETE FROM registry.cancellation_detail WHERE subscription_id = %(subscription_id)s AND ended_at IS NULL
-- name: cancellations
SELECT coalesce(feedback, reason, 'not told') AS why, count(*) AS subscriptions, count(*) FILTER (WHERE ended_at IS NULL) AS pending
  FROM registry.cancellation_detail WHERE coalesce(canceled_at, ended_at, now()) >= %(since)s GROUP BY 1 ORDER BY 2 DESC, 1
