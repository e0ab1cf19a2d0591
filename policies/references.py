"""Where published frameworks ask for what a rule checks."""

from __future__ import annotations

from policies.model import Reference

_CIS = "https://docs.aws.amazon.com/securityhub/latest/userguide/cis-aws-foundations-benchmark.html"
_SOC2 = "https://www.aicpa-cima.com/resources/download/2017-trust-services-criteria-with-revised-points-of-focus-2022"
_SAAS = "https://docs.aws.amazon.com/wellarchitected/latest/saas-lens/"


def cis(v3: str = "", v5: str = "") -> tuple[Reference, ...]:
    """Recommendations of the CIS AWS Foundations Benchmark: their numbers in v3.0.0 and in v5.0.0."""
    found = (("CIS AWS 3.0.0", v3), ("CIS AWS 5.0.0", v5))
    return tuple(Reference(framework, control, _CIS) for framework, control in found if control)


def soc2(*criteria: str) -> tuple[Reference, ...]:
    """Criteria of the AICPA's Trust Services Criteria (2017)."""
    return tuple(Reference("SOC 2", each, _SOC2) for each in criteria)


_SAAS_PAGES = {
    "SaaS SEC 1": "identity-and-access-management.html",
    "SaaS SEC 2": "infrastructure-protection.html",
    "SaaS REL 1": "foundations.html",
    "SaaS OPS 1": "operate.html",
    "SaaS COST 1": "expenditure-awareness.html",
}


def saas_lens(*questions: str) -> tuple[Reference, ...]:
    """Questions of the SaaS Lens of the AWS Well-Architected Framework."""
    return tuple(
        Reference("AWS SaaS Lens", each, _SAAS + _SAAS_PAGES.get(each, "saas-lens.html")) for each in questions
    )
