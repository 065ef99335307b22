"""Reads what the pictures of a run's findings need, and lets them be drawn."""

from __future__ import annotations

from collections.abc import Sequence

from server.charts import evidence
from server.diagnosis.urgency import most_urgent_first
from server.domain.findings import Finding
from server.web.services import Services

MOST_PICTURES = 12


def pictures(parts: Services, run_id: str, findings: Sequence[Finding]) -> dict[int, evidence.Picture]:
    """Draws the evidence of the open findings, the most urgent first, by the number of the finding."""
    found: dict[int, evidence.Picture] = {}
    drawable = (one for one in findings if one.state == "open" and one.evidence.series)
    shown = most_urgent_first(drawable, parts.registry)
    for finding in shown[:MOST_PICTURES]:
        name = finding.evidence.series[0]
        start, stop = evidence.span_of(finding)
        rule = parts.registry.get(finding.code)
        for cut in parts.store.overview.buckets(run_id, [name], points=evidence.POINTS, start=start, stop=stop):
            picture = evidence.draw(finding, name, cut.buckets, rule.rule.levels if rule else {})
            if picture is not None:
                found[finding.number] = picture
    return found
