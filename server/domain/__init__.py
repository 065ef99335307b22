"""The nouns of Gradwatch: runs, series, evidence, findings. Plain data and arithmetic; no I/O, no clock, no framework."""
