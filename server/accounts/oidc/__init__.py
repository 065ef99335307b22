"""Sign-in with OpenID Connect: the authorization code flow with PKCE, of which the browser carries state and nonce.

Needs the extra `oidc`. Not for: cookies and pages (server.web.oidc), who has an account (server.accounts.book).
"""
