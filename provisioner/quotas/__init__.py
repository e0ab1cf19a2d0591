"""Whether the account's AWS quotas have room for what an operation creates: asked before anything is created.

``needs_of`` turns a preview into needs, ``Preflight.admitted`` lets an operation run or raises ``QuotaShortfall``.
"""

from provisioner.quotas.aws import AwsClients, Boto3Clients, Place, caller_place
from provisioner.quotas.decision import Assessment, Finding, Shortfall
from provisioner.quotas.errors import QuotaShortfall, QuotasUnavailable, QuotasUnreadable
from provisioner.quotas.needs import Needs, Planned, needs_of
from provisioner.quotas.preflight import Preflight

__all__ = [
    "Assessment",
    "AwsClients",
    "Boto3Clients",
    "Finding",
    "Needs",
    "Place",
    "Planned",
    "Preflight",
    "QuotaShortfall",
    "QuotasUnavailable",
    "QuotasUnreadable",
    "Shortfall",
    "caller_place",
    "needs_of",
]
