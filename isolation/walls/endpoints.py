"""The policies of a network's VPC endpoints: credentials of another account must not carry data out through them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, partial

from isolation.attempts import OUTSIDER, Answer, Layer, Probe, Severity, is_ok
from isolation.aws import REFUSED, is_denied, of_decision
from isolation.documents import Documents
from isolation.iam import Environment, PolicyDocument, Principal, Request, ResourcePolicies, authorize
from isolation.state.reader import State

#: STS answers callers that have no credentials yet: its endpoint can't ask for an account
OPEN = ("sts",)
_ACTIONS = {
    "s3": ("PutObject", "arn:aws:s3:::somebodys-bucket/x"),
    "kms": ("Encrypt", "arn:aws:kms:us-east-1:999999999999:key/x"),
    "secretsmanager": ("PutSecretValue", "arn:aws:secretsmanager:us-east-1:999999999999:secret:x"),
    "logs": ("PutLogEvents", "arn:aws:logs:us-east-1:999999999999:log-group:x"),
}
_WELCOME = ResourcePolicies(
    PolicyDocument.parse(
        {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}],
        },
        "a resource that lets in everybody",
    )
)


def probes(state: State, documents: Documents) -> Iterator[Probe]:
    """One an endpoint of the network that the holder's instance is in."""
    holder = documents.holder
    vpc = state.instance(holder.instance, holder.region).vpc

    def through(service: str, text: str, who: Principal) -> Answer:
        action, resource = _ACTIONS[service]
        policy = PolicyDocument.parse(text, f"VPC endpoint {service}, policy")
        request = Request(who, f"{service}:{action}", resource, resource.split(":")[4] or holder.account)
        return of_decision(authorize(request, _WELCOME, Environment(vpc_endpoint=policy)))

    for service, text in sorted(state.endpoints(vpc, holder.region).items()):
        if service in OPEN or service not in _ACTIONS:
            continue
        yield Probe(
            "endpoint-foreign",
            Layer.NETWORK,
            f"with another account's credentials writes to what lets in everybody, through the endpoint of {service}",
            REFUSED,
            partial(through, service, text, documents.foreigner()),
            is_denied,
            "an administrator of the account does so",
            cache(partial(through, service, text, documents.administrator())),
            is_ok,
            Severity.WALL,
            by=OUTSIDER,
        )
