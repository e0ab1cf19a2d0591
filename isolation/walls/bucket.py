"""The bucket's policy: whom it keeps from the objects, and what it takes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from isolation.attempts import INSIDER, OUTSIDER
from isolation.documents import FOREIGN_ACCOUNT, STRANGER, Documents
from isolation.walls.question import Proper, Question, kebab

_TLS = {"aws:SecureTransport": "false"}
_SSE = "s3:x-amz-server-side-encryption"


def proper(d: Documents) -> Proper:
    return "reads an object of its own", lambda: d.on_bucket(d.anything(), "GetObject")


def questions(d: Documents) -> Iterator[Question]:
    own = d.anything()
    yield (
        "bucket-without-tls",
        "reads its own object without TLS",
        None,
        lambda: d.on_bucket(own, "GetObject", context=dict(_TLS)),
    )
    for name, words, context in (
        ("other-encryption", "encrypted by S3 alone", {_SSE: "AES256"}),
        (
            "foreign-key",
            "encrypted with a key of another account",
            {_SSE: "aws:kms", f"{_SSE}-aws-kms-key-id": d.holder.key_arn.replace(d.holder.account, FOREIGN_ACCOUNT)},
        ),
        (
            "double-encryption",
            "encrypted twice",
            {_SSE: "aws:kms:dsse", f"{_SSE}-aws-kms-key-id": d.holder.key_arn},
        ),
        ("unnamed-key", "encrypted with the key that the account has for all", {_SSE: "aws:kms"}),
        ("own-key", "encrypted with a key that it brings", {f"{_SSE}-customer-algorithm": "AES256"}),
    ):
        yield (
            f"bucket-put-{name}",
            f"writes an object {words}",
            None,
            partial(d.on_bucket, own, "PutObject", context=dict(context)),
        )
    for tag, name, words in ((None, "untagged", "without a tag"), (STRANGER, "as-another", f"tagged as {STRANGER}")):
        for action in ("GetObject", "PutObject", "DeleteObject"):
            yield (
                f"bucket-{kebab(action)}-{name}",
                f"calls s3:{action} {words}",
                None,
                partial(d.on_bucket, d.anything(tag), action),
            )
    for action in ("GetObject", "GetObjectVersion", "PutObject"):
        yield (
            f"bucket-{kebab(action)}-administrator",
            f"calls s3:{action} as an administrator",
            INSIDER,
            partial(d.on_bucket, d.administrator(d.tenant), action),
        )
        yield (
            f"bucket-{kebab(action)}-root",
            f"calls s3:{action} as the account's root",
            INSIDER,
            partial(d.on_bucket, d.root(), action),
        )
    for name, who, words in (
        ("foreign", d.foreigner(), "from another account"),
        ("anonymous", d.nobody(), "without credentials"),
    ):
        for action, where in (
            ("GetObject", d.object),
            ("PutObject", d.object),
            ("DeleteObject", d.object),
            ("ListBucket", d.holder.bucket_arn),
            ("GetBucketPolicy", d.holder.bucket_arn),
            ("PutBucketPolicy", d.holder.bucket_arn),
        ):
            yield (
                f"bucket-{kebab(action)}-{name}",
                f"calls s3:{action} {words}",
                OUTSIDER,
                partial(d.on_bucket, who, action, where),
            )
