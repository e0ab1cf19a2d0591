"""A small project tracker that many tenants share: what a customer of Tenantry writes.

``sign_in`` says who asks, ``main`` puts the parts together, ``projects``, ``files`` and ``billing`` serve. None of them
picks a database, a schema or a bucket, no statement names a tenant, nothing knows Stripe: that is the SDK's part.
"""
