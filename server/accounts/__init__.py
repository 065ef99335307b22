"""Who may use a shared server, and what: people with passwords and roles, programs with tokens and scopes.

Not for: HTTP, cookies and throttling (server.web.auth), or which address needs what (server.web.access).
"""
