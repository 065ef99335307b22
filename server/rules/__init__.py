"""The diagnoses, one file each: a docstring, thresholds with their sources, and a pure `check` of an evidence
window."""
