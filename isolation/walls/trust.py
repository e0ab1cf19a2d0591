"""Who gets a session of the role, and who reads the logins' passwords."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from isolation.attempts import INSIDER, OUTSIDER
from isolation.cloud_subject import TAG
from isolation.documents import STRANGER, Documents
from isolation.iam import Decision, Principal, Service
from isolation.walls.question import Proper, Question


def proper_of_trust(d: Documents) -> Proper:
    def broker() -> Decision:
        found = [d.assume(each, {TAG: d.tenant}) for each in d.brokers()]
        return next((each for each in found if each.allowed), found[0])

    return f"the broker assumes the role with the tag {TAG}={d.tenant}", broker


def trust(d: Documents) -> Iterator[Question]:
    brokers = d.brokers()

    def as_broker(tags: dict[str, str], transitive: tuple[str, ...] = (TAG,)) -> Callable[[], Decision]:
        def ask() -> Decision:
            found = [d.assume(each, tags, transitive=transitive) for each in brokers]
            return next((each for each in found if each.allowed), found[0])

        return ask

    yield "trust-untagged", "has the broker assume the role without a tag", None, as_broker({})
    yield "trust-empty-tag", "has it assumed with an empty tag", None, as_broker({TAG: ""})
    yield "trust-other-tag", "has it assumed with another tag only", None, as_broker({"tenant": d.tenant})
    yield "trust-more-tags", "has it assumed with a tag more", None, as_broker({TAG: d.tenant, "admin": "yes"})
    if d.holder.own:
        yield "trust-as-another", f"has it assumed for {STRANGER}", None, as_broker({TAG: STRANGER})
    for name, who, by in (
        ("foreign", d.foreigner(), OUTSIDER),
        ("anonymous", d.nobody(), OUTSIDER),
        ("service", Service("ec2.amazonaws.com"), OUTSIDER),
        ("lambda", Service("lambda.amazonaws.com"), INSIDER),
    ):
        yield (
            f"trust-{name}",
            f"assumes the role with the tag {TAG}={d.tenant}",
            by,
            partial(d.assume, who, {TAG: d.tenant}),
        )
    if d.holder.brokers:
        yield (
            "trust-administrator",
            f"assumes the role with the tag {TAG}={d.tenant} as an administrator who is no broker",
            INSIDER,
            lambda: d.assume(d.administrator(), {TAG: d.tenant}),
        )


def proper_of_secrets(d: Documents) -> Proper:
    return "the account's root reads a login", lambda: d.on_secret(d.root(), d.holder.secrets[0])


def secrets(d: Documents) -> Iterator[Question]:
    for name, who, by in (
        ("session", d.session(policies=()), None),
        ("foreign", d.foreigner(), OUTSIDER),
        ("anonymous", d.nobody(), OUTSIDER),
    ):

        def ask(who: Principal = who) -> Decision:
            found = [d.on_secret(who, arn, action) for arn in d.holder.secrets for action in _SECRET_ACTIONS]
            return next((each for each in found if each.allowed), found[0])

        yield f"secret-{name}", f"reads or changes {len(d.holder.secrets)} logins' passwords", by, ask


_SECRET_ACTIONS = ("GetSecretValue", "PutSecretValue", "PutResourcePolicy", "DescribeSecret")
