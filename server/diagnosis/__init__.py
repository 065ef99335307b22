"""Judges runs: reads what a training sent, asks the rules, and keeps findings and checks up to date in the store."""

from __future__ import annotations

from server.diagnosis.worker import Diagnosis, DiagnosisWorker

__all__ = ["Diagnosis", "DiagnosisWorker"]
