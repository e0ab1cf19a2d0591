"""The proof: every tenant attacks every other, at every border, and each refusal has its permitted twin.

    from isolation.proof import prove_all
    from isolation.report import isolated

    attempts = prove_all([acme, globex], sdk=Tenantry.from_env(), aws=boto3.session.Session())
    assert isolated(attempts)

It runs against what stands: logins and SQL on the tenants' real servers, the real broker, the policies that the cloud
returns. Whatever the attacks change is rolled back; two things are written: a row for a tenant of the pool that has
none (``isolation.witness``), and a file ``tenantry-proof.txt`` of the attacker's own, both removed again.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

from components.spec import TenantOutputs
from isolation import api, aws, database
from isolation.attempts import Attempt, Layer, Probe, failed
from isolation.broker import Broker
from isolation.cloud_subject import CloudSubject
from isolation.iam.collect import Aws, Cloud
from isolation.subject import Subject
from isolation.witness import Holdings, holdings
from tenantry import Tenantry

Seen = Callable[[Attempt], None]


def _nobody(attempt: Attempt) -> None:
    return None


def prove_all(tenants: Iterable[TenantOutputs], *, sdk: Tenantry, aws: Aws, seen: Seen = _nobody) -> list[Attempt]:
    """Every ordered pair of ``tenants``, in order.

    ``sdk``: an application's, for the installation that the tenants stand in. ``aws``: makes boto3 clients that may
    read IAM, S3's and KMS's policies (a ``boto3.session.Session`` does). ``seen`` is called with each attempt at once.
    Raises nothing: what could not be tried is an attempt that failed. Of fewer than two tenants nothing can be proved:
    the list is empty, and ``isolation.report.isolated`` is false of it.
    """
    return _prove(list(itertools.permutations(tenants, 2)), sdk, aws, seen)


def prove_pair(
    attacker: TenantOutputs, victim: TenantOutputs, *, sdk: Tenantry, aws: Aws, seen: Seen = _nobody
) -> list[Attempt]:
    """``attacker`` against ``victim``, and not the other way round; otherwise as ``prove_all``."""
    return _prove([(attacker, victim)], sdk, aws, seen)


def _prove(pairs: Sequence[tuple[TenantOutputs, TenantOutputs]], sdk: Tenantry, aws: Aws, seen: Seen) -> list[Attempt]:
    found: list[Attempt] = []

    def note(attempt: Attempt) -> None:
        found.append(attempt)
        seen(attempt)

    cloud = Cloud(aws)
    with Broker(sdk.config) as broker:
        subjects = {each.tenant_id: Subject(each, sdk, broker) for pair in pairs for each in pair}
        with _Everything(list(subjects.values())) as known:
            for attacker, victim in pairs:
                for attempt in _pair(subjects[attacker.tenant_id], subjects[victim.tenant_id], cloud, known):
                    note(attempt)
        for attempt in known.left_behind:
            note(attempt)
    return found


class _Everything:
    """What the tenants hold, looked up once; the rows made up for it are gone when the block ends."""

    def __init__(self, subjects: Sequence[Subject]) -> None:
        self._subjects = subjects
        self._stacks: list[tuple[Subject, contextlib.ExitStack]] = []
        self._found: dict[str, Holdings | Exception] = {}
        self.left_behind: list[Attempt] = []

    def __enter__(self) -> _Everything:
        for subject in self._subjects:
            stack = contextlib.ExitStack()
            try:
                self._found[subject.id] = stack.enter_context(holdings(subject))
                self._stacks.append((subject, stack))
            except Exception as error:
                self._found[subject.id] = error
        return self

    def __exit__(self, *_: object) -> None:
        for subject, stack in reversed(self._stacks):
            try:
                stack.close()
            except Exception as error:
                tried = "removes the row that was made up for the proof"
                self.left_behind.append(failed("clean-up", Layer.DATABASE, subject.id, subject.id, tried, error))

    def of(self, subject: Subject) -> Holdings:
        found = self._found[subject.id]
        if isinstance(found, Exception):
            raise found
        return found


def _pair(attacker: Subject, victim: Subject, cloud: Cloud, known: _Everything) -> Iterator[Attempt]:
    one, other = CloudSubject(attacker.outputs, cloud), CloudSubject(victim.outputs, cloud)
    families: list[tuple[Layer, Callable[[], Iterable[Probe]]]] = [
        (Layer.DATABASE, lambda: database.probes(attacker, victim, known.of(attacker), known.of(victim))),
        (Layer.IAM, lambda: aws.iam_probes(one, other, attacker)),
        (Layer.FILES, lambda: itertools.chain(aws.file_probes(one, other), api.file_probes(attacker, victim))),
        (Layer.API, lambda: api.probes(attacker, victim)),
    ]
    for layer, make in families:
        try:
            for probe in make():
                yield probe.run(attacker.id, victim.id)
        except Exception as error:
            yield failed("not-tried", layer, attacker.id, victim.id, f"attacks at the border {layer}", error)
