"""Reads what the pictures of a run's findings need, and lets them be drawn."""

from __future__ import annotations

from collections.abc import Sequence

from server import downsample
from server.charts import evidence
from server.domain.findings import Finding
from server.web.services import Services

MOST_PICTURES = 12


def pictures(parts: Services, run_id: str, findings: Sequence[Finding]) -> dict[int, evidence.Picture]:
    """Draws the evidence of the open findings, the most severe first, by the number of the finding."""
    found: dict[int, evidence.Picture] = {}
    shown = sorted(
        (one for one in findings if one.state == "open" and one.evidence.series),
        key=lambda one: (one.muted, one.cause is not None, -one.severity.rank, one.first_step),
    )
    for finding in shown[:MOST_PICTURES]:
        name = finding.evidence.series[0]
        start, stop = evidence.span_of(finding)
        rule = parts.registry.get(finding.code)
        for data in parts.store.series.read(run_id, [name], start=start, stop=stop):
            cut = downsample.buckets(data.steps, data.values, data.steps.astype(float), evidence.POINTS)
            picture = evidence.draw(finding, name, cut, rule.rule.levels if rule else {})
            if picture is not None:
                found[finding.number] = picture
    return found
