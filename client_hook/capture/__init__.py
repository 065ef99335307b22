"""Measures a training, one signal a file; nothing here sends, stores or judges."""
