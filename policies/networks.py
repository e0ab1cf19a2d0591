"""Address ranges, and which of them are as good as the whole internet."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network

_PRIVATE = tuple(
    ip_network(each)
    for each in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7", "fe80::/10")
)


def network(text: str) -> IPv4Network | IPv6Network:
    """Raises ValueError for what is no CIDR block; host bits are let pass, as AWS drops them."""
    return ip_network(text, strict=False)


def is_private(block: IPv4Network | IPv6Network) -> bool:
    return any(
        block.version == private.version and block.subnet_of(private)  # type: ignore[arg-type]
        for private in _PRIVATE
    )


def is_wide(block: IPv4Network | IPv6Network, *, ipv4: int, ipv6: int) -> bool:
    """Whether it is public and its prefix shorter than the given length: ``0.0.0.0/0``, and halves of it."""
    return not is_private(block) and block.prefixlen < (ipv4 if block.version == 4 else ipv6)
