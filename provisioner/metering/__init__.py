"""Usage on its way to Stripe: planned, reported, compared with Stripe's totals. ``docs/metering.md``"""
