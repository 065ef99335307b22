"""The nouns of Gradwatch: runs, series, evidence, findings. Plain data; no I/O, no clock, no framework."""
