"""The credential broker is trusted: whoever may assume the shared role chooses the tenant. So the broker is attacked.

What is proved here is what that trust is limited to: the roles' trust policies let in the broker and nobody else, the
broker tags what the registry says and not what it is told, and what a tenant gets can't become another's.
"""

from __future__ import annotations

from collections.abc import Iterator

from isolation.attempts import Answer, Layer, Probe, is_ok
from isolation.aws import REFUSED, is_denied, of_decision
from isolation.cloud_subject import TAG, CloudSubject
from isolation.iam import AssumedRole, Decision, assume_role


def probes(attacker: CloudSubject, victim: CloudSubject) -> Iterator[Probe]:
    """With the session that the broker gave, in chains of roles and with tags of one's own choice."""

    def chained(role_of: CloudSubject, tags: dict[str, str], caller: AssumedRole | None = None) -> Decision:
        transitive = tuple(key for key in tags if key == TAG)
        session = caller or attacker.principal
        return assume_role(role_of.role, session, session_name="proof", tags=tags, transitive=transitive)[0]

    def own() -> Answer:
        found = [of_decision(attacker.session_for(each, {TAG: attacker.id})[0]) for each in attacker.brokers()]
        return next((each for each in found if is_ok(each)), found[0])

    def spelled() -> Decision:
        """STS compares tag keys without case: another spelling is the same tag."""
        found = [chained(victim, {key: victim.id}) for key in (TAG, TAG.upper(), TAG.title(), f"{TAG} ")]
        return next((each for each in found if each.allowed), found[0])

    def impostor() -> Decision:
        """A session of the attacker's role, as somebody would make it who forgets the transitive tag."""
        plain = AssumedRole(attacker.role, "proof", {TAG: attacker.id})
        return chained(victim, {TAG: victim.id}, plain)

    def inherited() -> Decision:
        """Nothing is asked for: the tag comes along, and is the attacker's."""
        return chained(victim, {})

    own_tried = f"the broker assumes {attacker.outputs.role_arn} with the tag {TAG}={attacker.id}"
    for name, tried, ask in (
        ("chain-role", f"assumes {victim.outputs.role_arn} from its own session with the tag {victim.id}", spelled),
        ("chain-role-untransitive", "the same from a session of its role whose tag is not transitive", impostor),
        ("chain-role-untagged", "assumes that role from its own session without a tag", inherited),
    ):
        yield Probe(
            name,
            Layer.IAM,
            tried,
            REFUSED,
            lambda ask=ask: of_decision(ask()),  # type: ignore[misc]
            is_denied,
            own_tried,
            own,
            is_ok,
            fast=name == "chain-role",
        )
