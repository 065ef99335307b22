"""The security list, X1 to X17, and where each number is tested.

X1  every route                          test_access.py, test_routes.py
X2  the API as it describes itself       test_x2_openapi.py; binary frames: test_x2_frames.py
X3  bombs                                test_x3_bombs.py, tests/client_hook/test_wire.py
X4  strange texts                        tests/browser/test_foreign_text.py
X5  content policy of every page         tests/browser/test_every_page.py
X6  pages of other sites                 test_x6_cross_site.py, tests/server/web/test_security.py
X7  host names and claims                test_x7_addresses.py, tests/server/web/test_security.py
X8  addresses that alerts go to          tests/server/alerts/test_guard.py, tests/server/alerts/test_http.py
X9  where a sign-in leads                tests/server/web/test_auth.py
X10 paths that lead out                  test_x7_addresses.py; files that come: tests/server/test_moving.py
X11 guessing                             test_x11_guessing.py, tests/server/web/test_auth.py, test_behind_a_proxy.py
X12 sessions                             test_x12_sessions.py, tests/server/web/test_auth.py, test_sign_ins.py
X13 secrets                              test_x13_secrets.py, test_x13_copies.py
X15 the query language                   test_x15_queries.py
X17 containers                           tests/test_containers.py

Sign-in with OpenID Connect: test_oidc_sign_in.py, test_oidc_attacks.py, tests/server/accounts/test_oidc_discovery.py.
X14 has no test, since there are no rights per project to tell apart; X16 is for audit tools, outside of this suite.
"""
