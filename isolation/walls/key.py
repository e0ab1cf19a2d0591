"""The key's policy: who may have it used, for what, through which service."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from isolation.attempts import INSIDER, OUTSIDER
from isolation.documents import STRANGER, Context, Documents
from isolation.iam import Principal, Service
from isolation.walls.question import Proper, Question, kebab


def proper(d: Documents) -> Proper:
    return "has S3 decrypt an object of its own", lambda: d.on_key(d.anything(), "Decrypt", d.through_s3())


def questions(d: Documents) -> Iterator[Question]:
    through = d.through_s3()
    direct = {name: value for name, value in through.items() if name != "kms:ViaService"}
    nothing = {"kms:ViaService": through["kms:ViaService"]}
    elsewhere = d.through_s3(f"{d.holder.bucket_arn}-{STRANGER}/x")
    for action in ("Decrypt", "GenerateDataKey"):
        name = f"key-{kebab(action)}"
        asked: tuple[tuple[str, str, str | None, Principal, Context], ...] = (
            ("directly", "past S3", None, d.anything(), direct),
            ("elsewhere", "for another bucket", None, d.anything(), elsewhere),
            ("contextless", "without an encryption context", None, d.anything(), nothing),
            ("other-service", "through another service", None, d.anything(), {**through, "kms:ViaService": "ec2"}),
            ("untagged", "through S3 without a tag", None, d.anything(None), through),
            ("administrator", "through S3 as an administrator", INSIDER, d.administrator(d.tenant), through),
            ("administrator-directly", "as an administrator", INSIDER, d.administrator(), direct),
            ("root-directly", "as the account's root", INSIDER, d.root(), direct),
            ("foreign", "through S3 from another account", OUTSIDER, d.foreigner(), through),
            ("anonymous", "without credentials", OUTSIDER, d.nobody(), through),
            ("service", "as a service for nobody", OUTSIDER, Service("s3.amazonaws.com"), direct),
        )
        if d.holder.own:
            asked += (("as-another", f"through S3 tagged as {STRANGER}", None, d.anything(STRANGER), through),)
        for suffix, words, by, who, context in asked:
            yield (
                f"{name}-{suffix}",
                f"calls kms:{action} {words}",
                by,
                partial(d.on_key, who, action, context),
            )
    yield from _key_for_services(d)


def _key_for_services(d: Documents) -> Iterator[Question]:
    region, account = d.holder.region, d.holder.account
    own_arn = d.holder.key_arn.replace(":kms:", ":{}:").rsplit(":", 1)[0]
    logs = Service(f"logs.{region}.amazonaws.com")
    foreign_log = f"{own_arn.format('logs')}:log-group:/aws/rds/instance/{STRANGER}/postgresql"
    yield (
        "key-anothers-log",
        "has CloudWatch Logs decrypt another's log with it",
        INSIDER,
        lambda: d.on_key(logs, "Decrypt", {"kms:EncryptionContext:aws:logs:arn": foreign_log}),
    )
    topic = {"aws:SourceAccount": account, "kms:EncryptionContext:aws:sns:topicArn": f"{own_arn.format('sns')}:other"}
    yield (
        "key-anothers-topic",
        "has CloudWatch use it for another topic",
        INSIDER,
        lambda: d.on_key(Service("cloudwatch.amazonaws.com"), "Decrypt", dict(topic)),
    )
    secret = f"{own_arn.format('secretsmanager')}:secret:{STRANGER}/database-login-AbCdEf"
    yield (
        "key-anothers-secret",
        "has Secrets Manager decrypt another's secret with it",
        INSIDER,
        lambda: d.on_key(
            d.administrator(),
            "Decrypt",
            {
                "kms:ViaService": f"secretsmanager.{region}.amazonaws.com",
                "kms:EncryptionContext:SecretARN": secret,
            },
        ),
    )
    for name, context in (
        ("directly", {"kms:GrantIsForAWSResource": "false"}),
        ("through-rds", {"kms:GrantIsForAWSResource": "false", "kms:ViaService": f"rds.{region}.amazonaws.com"}),
    ):
        yield (
            f"key-grant-{name}",
            "grants the use of it to somebody who is no service of AWS",
            INSIDER,
            partial(d.on_key, d.administrator(), "CreateGrant", dict(context)),
        )
    for action in ("PutKeyPolicy", "ScheduleKeyDeletion", "CreateGrant"):
        yield (
            f"key-{kebab(action)}-foreign",
            f"calls kms:{action} from another account",
            OUTSIDER,
            partial(d.on_key, d.foreigner(), action, {}),
        )
