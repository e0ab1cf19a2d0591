"""What no attack of the proof can show, said so that nobody takes it for shown."""

from __future__ import annotations

ASSUMPTIONS = (
    (
        "The credential broker is trusted: the trust policy of the role that pool and bridge tenants share can only "
        "require that a session carries a tenant_id tag, so whoever may assume the role chooses the tenant, and only "
        "the broker may. The proof attacks the broker from outside."
    ),
    (
        "Operators of the installation and whoever holds its deployment credentials are trusted: they can change what "
        "was proved. The control plane's database and the installation's signing key are in their hands."
    ),
    (
        "AWS is trusted to enforce the policies that it returns. Decisions of IAM, S3, KMS and Secrets Manager are "
        "evaluated from the documents read back from the account, following AWS's published evaluation logic."
    ),
    (
        "PostgreSQL is trusted to enforce roles, grants and row-level security. SQL attacks run on the tenants' real "
        "servers."
    ),
    (
        "The proof shows the moment between its start and its end, and that these attacks fail, not that no other "
        "could succeed."
    ),
)
