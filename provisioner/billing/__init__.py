"""Billing: Stripe's webhooks, subscriptions and prices, turned into what the control plane acts on.

``gateway_stripe``, ``storefront`` and ``errors`` are the only importers of ``stripe``; ``webhooks``, ``translate`` and
``catalogue`` are pure.
"""
