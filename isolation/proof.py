"""The proof: tenants attack each other at every border, and what stands is compared with what must stand.

    from isolation.proof import prove_all
    from isolation.report import isolated

    attempts = prove_all([acme, globex], sdk=Tenantry.from_env(), aws=boto3.session.Session())
    assert isolated(attempts)

It runs against what stands: logins and SQL on the tenants' real servers, the real broker, the policies that the cloud
returns. Whatever the attacks change is rolled back; two things are written: a row for a tenant of the pool that has
none (``isolation.witness``), and a file ``tenantry-proof.txt`` of the attacker's own, both removed again.

Every entry point takes the same: ``sdk`` is an application's, for the installation that the tenants stand in; ``aws``
makes boto3 clients that may read what IAM, S3, KMS, Secrets Manager, RDS and EC2 hold (a ``boto3.session.Session``
does); ``installation`` says what else is known; ``seen`` is called with each attempt at once. None of them raises: what
could not be tried is an attempt that failed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from components.spec import TenantOutputs
from isolation.attempts import Attempt
from isolation.iam.collect import Aws
from isolation.installation import Installation
from isolation.neighbours import Pair, neighbours, pairs
from isolation.run import Run
from tenantry import Tenantry

Seen = Callable[[Attempt], None]
SAMPLE = 1  #: neighbours of each kind that a tenant meets
UNKNOWN = Installation()


def _nobody(attempt: Attempt) -> None:
    return None


def prove_all(
    tenants: Iterable[TenantOutputs],
    *,
    sdk: Tenantry,
    aws: Aws,
    installation: Installation = UNKNOWN,
    sample: int = SAMPLE,
    seen: Seen = _nobody,
) -> list[Attempt]:
    """Every tenant against ``sample`` neighbours of each kind, and every place that tenants live in.

    Neighbours are chosen by ``isolation.neighbours``; a ``sample`` as large as the number of tenants means every
    ordered pair. Of fewer than two tenants nothing can be proved: the list is empty, and ``isolation.report.isolated``
    is false of it.
    """
    known = list(tenants)
    if len(known) < 2:
        return []
    run = Run(sdk=sdk, aws=aws, installation=installation, fast=False)
    return _prove(run, pairs(known, sample), seen, lambda: _alone(run, known, known, whole=True))


def prove_pair(
    attacker: TenantOutputs,
    victim: TenantOutputs,
    *,
    sdk: Tenantry,
    aws: Aws,
    installation: Installation = UNKNOWN,
    seen: Seen = _nobody,
) -> list[Attempt]:
    """``attacker`` against ``victim``, not the other way round, and nothing of what stands where they live."""
    run = Run(sdk=sdk, aws=aws, installation=installation, fast=False)
    return _prove(run, [(attacker, victim)], seen, lambda: run.powers([attacker]))


def prove_tenant(
    tenant: TenantOutputs,
    others: Iterable[TenantOutputs],
    *,
    sdk: Tenantry,
    aws: Aws,
    installation: Installation = UNKNOWN,
    fast: bool = False,
    sample: int = SAMPLE,
    seen: Seen = _nobody,
) -> list[Attempt]:
    """Everything about one tenant: its attacks on neighbours among ``others``, theirs on it, and its own place.

    ``fast``: what runs after every operation: its own place, and the probes that are marked so with the one neighbour
    that shares most. Without another tenant its place and what outsiders try are all there is.
    """
    known = list(others)
    met = neighbours(tenant, known, sample)[: 1 if fast else None]
    both = [pair for other in met for pair in ((tenant, other), (other, tenant))]
    run = Run(sdk=sdk, aws=aws, installation=installation, fast=fast)
    return _prove(run, both, seen, lambda: _alone(run, [tenant], known, whole=not fast))


def _alone(
    run: Run, residents: Sequence[TenantOutputs], others: Sequence[TenantOutputs], *, whole: bool
) -> Iterator[Attempt]:
    """What takes no other tenant: where ``residents`` live, what they have, what their logins and outsiders may do."""
    yield from run.places(residents, whole=whole)
    yield from run.holders(residents, others)
    yield from run.outsiders(residents)
    yield from run.powers(residents)


def _prove(run: Run, pairs: Sequence[Pair], seen: Seen, first: Callable[[], Iterator[Attempt]]) -> list[Attempt]:
    found: list[Attempt] = []

    def note(attempts: Iterable[Attempt]) -> None:
        for attempt in attempts:
            found.append(attempt)
            seen(attempt)

    with run:
        note(first())
        note(run.pairs(pairs))
        note(run.clean_up())
    return found
