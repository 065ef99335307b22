"""Gradwatch in other people's loops, one file a framework; nothing here is imported unless somebody asks for it."""
