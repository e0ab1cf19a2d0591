"""The role and its permissions boundary: what a session may do by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from isolation.documents import STRANGER, Context, Documents
from isolation.iam import Decision, Principal
from isolation.walls.question import Proper, Question, kebab


def proper_of_role(d: Documents) -> Proper:
    return "reads an object of its own", lambda: d.on_bucket(d.session(), "GetObject", policy=False)


def proper_of_boundary(d: Documents) -> Proper:
    return "reads an object of its own", lambda: d.on_bucket(_bounded(d), "GetObject", policy=False)


def _bounded(d: Documents, tag: str | None = "") -> Principal:
    """A session of whose role the boundary is all there is."""
    boundary = d.role.boundary
    return d.session(tag, policies=() if boundary is None else (boundary,), boundary=boundary)


def role(d: Documents) -> Iterator[Question]:
    yield from _identity("role", d, d.session)


def boundary(d: Documents) -> Iterator[Question]:
    if d.role.boundary is None:
        # a wall that is missing refuses nothing
        unlimited = partial(d.on_bucket, d.anything(STRANGER), "GetObject", policy=False)
        yield "boundary-missing", f"reads an object tagged as {STRANGER}", None, unlimited
        return
    yield from _identity("boundary", d, partial(_bounded, d))


def _identity(wall: str, d: Documents, session: Callable[[str | None], Principal]) -> Iterator[Question]:
    own, other = session(""), f"{d.holder.bucket_arn}-{STRANGER}"
    for action in ("GetObject", "PutObject", "DeleteObject"):
        verb = action.removesuffix("Object").lower()
        yield (
            f"{wall}-{verb}-untagged",
            f"{verb}s an object without a tag",
            None,
            partial(d.on_bucket, session(None), action, policy=False),
        )
        yield (
            f"{wall}-{verb}-as-another",
            f"{verb}s an object tagged as {STRANGER}",
            None,
            partial(d.on_bucket, session(STRANGER), action, policy=False),
        )
        yield (
            f"{wall}-{verb}-elsewhere",
            f"{verb}s an object of another bucket",
            None,
            partial(d.on_bucket, own, action, f"{other}/{d.prefix}x", policy=False),
        )
    bucket = d.holder.bucket_arn
    yield (
        f"{wall}-list-untagged",
        "lists the bucket without a tag",
        None,
        lambda: d.listing(session(None), d.prefix, policy=False),
    )
    yield (
        f"{wall}-list-as-another",
        f"lists the bucket tagged as {STRANGER}",
        None,
        lambda: d.listing(session(STRANGER), d.prefix, policy=False),
    )
    if not d.holder.own:
        yield f"{wall}-list-all", "lists the whole bucket", None, lambda: d.listing(own, None, policy=False)
        yield f"{wall}-list-anothers", "lists another's", None, lambda: d.listing(own, f"{STRANGER}/", policy=False)
    for action in ("DeleteObjectVersion", "PutBucketPolicy", "DeleteBucketPolicy", "PutBucketPublicAccessBlock"):
        where = d.object if action.endswith("Version") else bucket
        yield (
            f"{wall}-{kebab(action)}",
            f"calls s3:{action} on its own",
            None,
            partial(d.on_bucket, own, action, where, policy=False),
        )
    yield from _identity_key(wall, d, session)


def _identity_key(wall: str, d: Documents, session: Callable[[str | None], Principal]) -> Iterator[Question]:
    own, through = session(""), d.through_s3()
    direct = {name: value for name, value in through.items() if name != "kms:ViaService"}
    elsewhere = d.through_s3(f"{d.holder.bucket_arn}-{STRANGER}/x")
    tags, aliases = d.cloud.key_tags(d.holder.key_arn), d.cloud.key_aliases(d.holder.key_arn)
    for action in ("Decrypt", "GenerateDataKey"):
        name = f"{wall}-{kebab(action)}"

        def on(context: Context, tag: str | None = "", action: str = action) -> Callable[[], Decision]:
            return partial(d.on_key, session(tag), action, context, policy=False)

        def with_key(tags: dict[str, str], action: str = action) -> Callable[[], Decision]:
            return partial(d.on_other_key, own, action, tags, aliases)

        yield f"{name}-directly", f"calls kms:{action} past S3", None, on(direct)
        yield f"{name}-elsewhere", f"has kms:{action} for another bucket", None, on(elsewhere)
        yield f"{name}-untagged", f"has kms:{action} without a tag", None, on(through, None)
        others = with_key({**tags, "tenant_id": STRANGER})
        yield f"{name}-other-key", f"has kms:{action} with another tenant's key under its own key's alias", None, others
        yield f"{name}-untagged-key", f"has kms:{action} with a key without tags", None, with_key({})
    for action in ("PutKeyPolicy", "CreateGrant", "ScheduleKeyDeletion", "Encrypt", "ReEncryptFrom"):
        yield (
            f"{wall}-{kebab(action)}",
            f"calls kms:{action} on its own key",
            None,
            partial(d.on_key, own, action, d.through_s3(), policy=False),
        )
