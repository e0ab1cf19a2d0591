"""Each policy on its own: what it must refuse even if every other one allowed everything.

Every question is the permitted one with a single thing changed, so that a condition that was dropped shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial

from isolation.attempts import Answer, Layer, Probe, Severity, is_ok
from isolation.aws import REFUSED, is_denied, of_decision
from isolation.documents import Documents
from isolation.iam import Decision
from isolation.walls import bucket, identity, key, trust


def probes(documents: Documents) -> Iterator[Probe]:
    """Role, boundary, bucket, key, trust and secret policies of one holder, in this order."""
    for layer, wall, proper, make in (
        (Layer.FILES, "the role's own policies", identity.proper_of_role, identity.role),
        (Layer.FILES, "the permissions boundary", identity.proper_of_boundary, identity.boundary),
        (Layer.FILES, "the bucket's policy", bucket.proper, bucket.questions),
        (Layer.FILES, "the key's policy", key.proper, key.questions),
        (Layer.IAM, "the trust policy", trust.proper_of_trust, trust.trust),
        (Layer.IAM, "the secrets' policies", trust.proper_of_secrets, trust.secrets),
    ):
        own_tried, own = proper(documents)
        twin = cache(partial(_answer, own))
        for name, tried, by, ask in make(documents):
            yield Probe(
                name,
                layer,
                f"{tried}, with nothing but {wall} in the way",
                REFUSED,
                partial(_answer, ask),
                is_denied,
                f"{own_tried}, past {wall}",
                twin,
                is_ok,
                Severity.WALL,
                by=by,
                fast=True,
            )


def _answer(ask: Callable[[], Decision]) -> Answer:
    return of_decision(ask())
