"""The catalogue in Stripe: what it should hold, what it holds, the difference, and how that is applied.

``wanted`` and ``differences`` are pure; ``snapshot``, ``push`` and ``price_migration`` talk to Stripe through ``api``.
"""
