"""A small project tracker that many tenants share: what a customer of Tenantry writes.

``sign_in`` says who asks, ``main`` puts the parts together, ``projects`` and ``files`` serve. None of them picks a
database, a schema or a bucket, and no statement names a tenant: that is the SDK's part.
"""
