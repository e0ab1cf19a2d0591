"""A small run of the benchmark: real kills of a real reporter that talks HTTP to a local Stripe that loses answers."""

from __future__ import annotations

from pathlib import Path

from benchmarks.metering import Rig, Scale
from tests.integration.localcloud.stripe.world import StripeProcess


def test_totals_are_exact_through_kills_lost_answers_duplicates_and_an_outage(
    registry_url: str, tmp_path: Path
) -> None:
    scale = Scale(tenants=6, hours=4, units=24_000, crashes=4, records=10, events_before_crash=8)
    with StripeProcess() as stripe, Rig(registry_url, stripe.url, tmp_path / "spool", scale) as rig:
        rig.prepare()
        rig.run()
        rig.drain()
        assert rig.differences() == {}
        assert rig.reconciled() == 0
        assert sum(rig.recorded.values()) == 24_000
        assert rig.crashes >= 4
        assert rig.duplicates > 0
