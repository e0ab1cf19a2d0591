"""Attacks on another tenant's files, keys, roles and secrets, judged by the documents that the cloud holds.

Nothing is called but what reads them: AWS's own evaluation is recomputed (``isolation.iam``), so the proof holds for
a cloud that doesn't enforce policies, too, and names the statement that decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from isolation.attempts import Answer, Layer, Probe, is_ok
from isolation.cloud_subject import TAG, CloudSubject, Wall
from isolation.iam import Decision, Outcome, Principal
from isolation.subject import Subject

REFUSED = "explicit or implicit deny"


def of_decision(decision: Decision) -> Answer:
    """``ok`` or the kind of denial; by the deciding statements, or the documents that have none."""
    by = "; ".join(statement.name for statement in decision.statements) or decision.reason
    return Answer("ok" if decision.allowed else decision.outcome.value, decision.reason, by)


def is_denied(answer: Answer) -> bool:
    return answer.code in (Outcome.EXPLICIT_DENY.value, Outcome.IMPLICIT_DENY.value)


def _probe(
    name: str,
    layer: Layer,
    tried: str,
    attack: Callable[[], Answer],
    own_tried: str,
    own: Callable[[], Answer],
) -> Probe:
    return Probe(name, layer, tried, REFUSED, attack, is_denied, own_tried, own, is_ok, fast=name in _FAST)


#: what each tier's documents are most of all for
_FAST = ("get-object", "put-object", "decrypt-object", "assume-role", "own-tag-on-anothers-role", "read-login-secret")


def file_probes(attacker: CloudSubject, victim: CloudSubject) -> Iterator[Probe]:
    """With the attacker's session: objects, listings and the key of another, beside its own."""
    for name, action, verb, context in (
        ("get-object", "s3:GetObject", "reads", {}),
        ("put-object", "s3:PutObject", "writes", _ENCRYPTED),
        ("delete-object", "s3:DeleteObject", "deletes", {}),
    ):

        def ask(of: CloudSubject, action: str = action, context: dict[str, str] = context) -> Answer:
            headers = {key: value.format(key=of.outputs.kms_key_arn) for key, value in context.items()}
            return of_decision(of.on_files(attacker.principal, action, of.object_arn, **headers))

        yield _probe(
            name,
            Layer.FILES,
            f"{verb} an object under {victim.bucket_arn}/{victim.outputs.prefix}",
            lambda ask=ask: ask(victim),  # type: ignore[misc]
            f"{verb} an object under its own {attacker.bucket_arn}/{attacker.outputs.prefix}",
            lambda ask=ask: ask(attacker),  # type: ignore[misc]
        )

    for wall in Wall:

        def alone(of: CloudSubject, wall: Wall = wall) -> Answer:
            return of_decision(of.on_wall(wall, attacker.principal))

        yield _probe(
            f"get-object-{wall.name.lower()}-alone",
            Layer.FILES,
            f"reads an object of {victim.id}, if nothing but {wall.value} were in the way",
            lambda alone=alone: alone(victim),  # type: ignore[misc]
            f"reads an object of its own past {wall.value}",
            lambda alone=alone: alone(attacker),  # type: ignore[misc]
        )

    def listing(of: CloudSubject, prefix: str | None) -> Answer:
        context = {} if prefix is None else {"s3:prefix": prefix}
        return of_decision(of.on_files(attacker.principal, "s3:ListBucket", of.bucket_arn, **context))

    yield _probe(
        "list-files",
        Layer.FILES,
        f"lists {victim.bucket_arn}/{victim.outputs.prefix}",
        lambda: listing(victim, victim.outputs.prefix),
        f"lists its own {attacker.bucket_arn}/{attacker.outputs.prefix}",
        lambda: listing(attacker, attacker.outputs.prefix),
    )
    if victim.outputs.prefix:
        yield _probe(
            "list-bucket",
            Layer.FILES,
            f"lists the whole of {victim.bucket_arn}, naming no prefix",
            lambda: listing(victim, None),
            f"lists its own {attacker.bucket_arn}/{attacker.outputs.prefix}",
            lambda: listing(attacker, attacker.outputs.prefix),
        )

    def decrypt(of: CloudSubject, through_s3: bool) -> Answer:
        return of_decision(of.on_key(attacker.principal, "kms:Decrypt", through_s3=through_s3))

    yield _probe(
        "decrypt-object",
        Layer.FILES,
        f"has S3 decrypt an object of {victim.id} with key {victim.outputs.kms_key_arn}",
        lambda: decrypt(victim, True),
        f"has S3 decrypt its own object with key {attacker.outputs.kms_key_arn}",
        lambda: decrypt(attacker, True),
    )
    yield _probe(
        "use-key-directly",
        Layer.FILES,
        f"decrypts with key {victim.outputs.kms_key_arn} itself, past S3",
        lambda: decrypt(victim, False),
        f"has S3 decrypt its own object with key {attacker.outputs.kms_key_arn}",
        lambda: decrypt(attacker, True),
    )


#: what the SDK sends with every upload
_ENCRYPTED = {
    "s3:x-amz-server-side-encryption": "aws:kms",
    "s3:x-amz-server-side-encryption-aws-kms-key-id": "{key}",
}


def iam_probes(attacker: CloudSubject, victim: CloudSubject, application: Subject) -> Iterator[Probe]:
    """Roles, tags and secrets. ``application``: the attacker's, which gets its own login from the broker."""

    def assumed(of: CloudSubject, tags: dict[str, str], *, read: bool = False) -> Answer:
        """By whomever the role trusts: who gets through counts, for an attack as for its twin."""
        decide = _read_with_session if read else _session
        answers = [of_decision(decide(of, broker, tags)) for broker in of.brokers()]
        nobody = Answer("nobody", f"the trust policy of {of.outputs.role_arn} lets nobody in")
        return next((each for each in answers if is_ok(each)), answers[0] if answers else nobody)

    def own_session() -> Answer:
        return assumed(attacker, {TAG: attacker.id})

    own_tried = f"the broker assumes {attacker.outputs.role_arn} with the tag {TAG}={attacker.id}"
    yield _probe(
        "assume-role",
        Layer.IAM,
        f"assumes {victim.outputs.role_arn} with the tag {TAG}={victim.id}",
        lambda: of_decision(victim.session_for(attacker.principal, {TAG: victim.id})[0]),
        own_tried,
        own_session,
    )
    yield _probe(
        "no-tag",
        Layer.IAM,
        f"has the broker assume {victim.outputs.role_arn} without a tag",
        lambda: assumed(victim, {}),
        own_tried,
        own_session,
    )
    if victim.outputs.prefix:
        # whoever shares the role may have a session of it; what it may read is decided by the tag
        yield _probe(
            "own-tag-on-anothers-role",
            Layer.IAM,
            f"gets a session of {victim.outputs.role_arn} with the tag {TAG}={attacker.id} and reads an object of"
            f" {victim.id}",
            lambda: assumed(victim, {TAG: attacker.id}, read=True),
            own_tried + " and reads an object of its own",
            lambda: assumed(attacker, {TAG: attacker.id}, read=True),
        )
    else:
        yield _probe(
            "own-tag-on-anothers-role",
            Layer.IAM,
            f"has the broker assume {victim.outputs.role_arn}, which is {victim.id}'s alone, with the tag"
            f" {TAG}={attacker.id}",
            lambda: assumed(victim, {TAG: attacker.id}),
            own_tried,
            own_session,
        )

    def own_login() -> Answer:
        with application.session() as session:
            row = session.execute("SELECT session_user::text").fetchone()
        right = row is not None and row[0] == attacker.outputs.login
        return Answer("ok" if right else "another login", f"logs in as {row[0] if row else 'nobody'}")

    yield _probe(
        "read-login-secret",
        Layer.IAM,
        f"reads the database password of {victim.id} from {victim.outputs.login_secret_arn}",
        lambda: of_decision(victim.on_login_secret(attacker.principal)),
        "gets its own login from the broker and uses it",
        own_login,
    )


def _session(of: CloudSubject, broker: Principal, tags: dict[str, str]) -> Decision:
    return of.session_for(broker, tags)[0]


def _read_with_session(of: CloudSubject, broker: Principal, tags: dict[str, str]) -> Decision:
    """The refusal of a session of the role of ``of``, or what that session may do with an object of ``of``."""
    decision, session = of.session_for(broker, tags)
    if session is None:
        return decision
    reads = of.on_files(session, "s3:GetObject", of.object_arn)
    if reads.allowed:
        return Decision(
            reads.outcome, "the role is assumed and the object read", decision.statements + reads.statements
        )
    return reads
