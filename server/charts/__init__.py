"""Draws charts: each module is one, and makes a plotly figure of the series that it is handed.

Charts never query, and never hide a spike or a value that is no number. Not for: which charts a page has (server.web).
"""
