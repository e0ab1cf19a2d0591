"""Data in transit: whoever comes without TLS is turned away."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from policies.documents import Malformed, Statement, statements
from policies.grants import denies_plain_text
from policies.model import Facts, Resource, Rule, Severity, Stack, each_resource
from policies.references import cis, soc2
from policies.relations import BUCKETS, parts_of
from policies.values import Properties, is_on, is_present

_BUCKET_ACTIONS = ("s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket", "s3:PutBucketPolicy")
_QUEUE_ACTIONS = ("sqs:SendMessage", "sqs:ReceiveMessage")


def _parameter_group(resource: Resource, facts: Facts) -> Iterator[str]:
    family = str(resource.properties.get("family") or "").lower().removeprefix("aurora-")
    parameters = {
        str(item.get("name")).lower(): str(item.get("value")).lower()
        for item in resource.properties.get("parameters") or []
    }
    if family.startswith("postgres") and parameters.get("rds.force_ssl") != "1":
        yield "the parameter group lets clients in without TLS (rds.force_ssl)"
    if family.startswith(("mysql", "mariadb")) and parameters.get("require_secure_transport") not in ("1", "on"):
        yield "the parameter group lets clients in without TLS (require_secure_transport)"


def _refuses_plain_text(
    token: str, own: str, what: str, actions: tuple[str, ...], name: str, identifiers: tuple[str, ...], both: bool
) -> Callable[[Resource, Stack, Facts], Iterator[str]]:
    """``token``: the type that carries a policy for it in ``policy`` and names it in ``name``; ``own``: its own one."""

    def judge(resource: Resource, stack: Stack, facts: Facts) -> Iterator[str]:
        values = [each.properties.get("policy") for each in parts_of(stack, resource, name, identifiers, token)]
        if is_present(resource.properties, own) and not values:
            values.append(resource.properties[own])
        found: list[Statement] = []
        for value in values:
            try:
                found += statements(value)
            except Malformed as wrong:
                yield f"the policy of {what} {wrong}"
        if both:
            found = [each for each in found if _bucket_and_objects(each)]
        if not denies_plain_text(found, actions):
            yield f"{what} can be used without TLS: no policy denies what comes with aws:SecureTransport false"

    return judge


def _bucket_and_objects(statement: Statement) -> bool:
    """Whether it speaks of the bucket as well as of every object in it."""
    return any(each == "*" for each in statement.resources) or (
        any(each.endswith("/*") and each.count("/") == 1 for each in statement.resources)
        and any("/" not in each for each in statement.resources)
    )


def _listener(resource: Resource, facts: Facts) -> Iterator[str]:
    properties = resource.properties
    if properties.get("protocol") != "HTTP":
        return
    actions = properties.get("defaultActions") or []
    if not actions or not all(map(_redirects_to_tls, actions)):
        yield "the listener serves plain HTTP"


def _redirects_to_tls(action: Properties) -> bool:
    # Without a protocol of its own a redirect keeps the request's.
    return action.get("type") == "redirect" and (action.get("redirect") or {}).get("protocol") == "HTTPS"


_IN_TRANSIT = {
    "aws:elasticache/replicationGroup:ReplicationGroup": "transitEncryptionEnabled",
}


def _cache(resource: Resource, facts: Facts) -> Iterator[str]:
    name = _IN_TRANSIT[resource.type]
    if not is_on(resource.properties.get(name)):
        yield f"it talks to its clients without TLS ({name})"


def _domain(resource: Resource, facts: Facts) -> Iterator[str]:
    options = resource.properties.get("domainEndpointOptions") or {}
    if not is_on(options.get("enforceHttps")):
        yield "the search domain serves plain HTTP"


_STATEMENT = "Effect Deny, Principal '*', Condition {'Bool': {'aws:SecureTransport': 'false'}}"

RULES: tuple[Rule, ...] = (
    Rule(
        id="exposure-database-tls",
        title="A database server refuses clients without TLS",
        severity=Severity.HIGH,
        remediation="Set the parameter rds.force_ssl to 1 (MySQL, MariaDB: require_secure_transport to ON)",
        types=frozenset(
            {"aws:rds/parameterGroup:ParameterGroup", "aws:rds/clusterParameterGroup:ClusterParameterGroup"}
        ),
        resource=_parameter_group,
        references=soc2("CC6.7"),
    ),
    Rule(
        id="transport-bucket",
        title="A bucket refuses requests without TLS",
        severity=Severity.MEDIUM,
        remediation=f"Add to its bucket policy: {_STATEMENT}, Action s3:*, Resource the bucket and its objects",
        stack=each_resource(
            BUCKETS,
            _refuses_plain_text(
                "aws:s3/bucketPolicy:BucketPolicy",
                "policy",
                "the bucket",
                _BUCKET_ACTIONS,
                "bucket",
                ("bucket", "arn"),
                both=True,
            ),
        ),
        references=(*cis("2.1.1", "2.1.1"), *soc2("CC6.7")),
    ),
    Rule(
        id="transport-topic",
        title="A topic refuses publishers without TLS",
        severity=Severity.MEDIUM,
        remediation=f"Add to its policy: {_STATEMENT}, Action sns:Publish, Resource the topic",
        stack=each_resource(
            ("aws:sns/topic:Topic",),
            _refuses_plain_text(
                "aws:sns/topicPolicy:TopicPolicy", "policy", "the topic", ("sns:Publish",), "arn", ("arn",), both=False
            ),
        ),
        references=soc2("CC6.7"),
    ),
    Rule(
        id="transport-queue",
        title="A queue refuses clients without TLS",
        severity=Severity.MEDIUM,
        remediation=f"Add to its policy: {_STATEMENT}, Action sqs:*, Resource the queue",
        stack=each_resource(
            ("aws:sqs/queue:Queue",),
            _refuses_plain_text(
                "aws:sqs/queuePolicy:QueuePolicy",
                "policy",
                "the queue",
                _QUEUE_ACTIONS,
                "queueUrl",
                ("url",),
                both=False,
            ),
        ),
        references=soc2("CC6.7"),
    ),
    Rule(
        id="transport-listener",
        title="A load balancer serves HTTPS, and redirects what comes by HTTP",
        severity=Severity.HIGH,
        remediation="Set protocol HTTPS with a certificate, or a default action of type redirect",
        types=frozenset({"aws:lb/listener:Listener", "aws:alb/listener:Listener"}),
        resource=_listener,
        references=soc2("CC6.7"),
    ),
    Rule(
        id="transport-cache",
        title="A cache talks TLS to its clients",
        severity=Severity.HIGH,
        remediation="Set transitEncryptionEnabled",
        types=frozenset(_IN_TRANSIT),
        resource=_cache,
        references=soc2("CC6.7"),
    ),
    Rule(
        id="transport-search-domain",
        title="A search domain enforces HTTPS",
        severity=Severity.HIGH,
        remediation="Set domainEndpointOptions.enforceHttps",
        types=frozenset({"aws:opensearch/domain:Domain"}),
        resource=_domain,
        references=soc2("CC6.7"),
    ),
)
