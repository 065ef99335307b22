"""The reliability list of the store, S1 to S14: one file each, named by its number.

S1  kill -9 at 100 points              test_s01_kill_nine.py, and a whole server in tests/faults/test_kill_server.py
S2  power cuts                         test_s02_power_cut.py
S3  ingest against a set model         test_s03_set_model.py
S4  50 writers and 10 dashboards       test_s04_dashboards.py
S5  more than it can take              test_s05_overload.py
S6  a full disk                        test_s06_disk_full.py
S7  a database that is not as it was   test_s07_wrong_database.py
S8  every schema that landed           test_s08_migrations.py
S9  backup under load                  test_s09_backup.py, and tests/server/test_operations.py
S10 both databases answer alike        tests/server/web/test_both_databases.py
S11 deletion beside ingest             test_s11_deletion.py, and tests/server/store/test_deletion.py
S12 sizes                              test_s12_sizes.py
S13 live streams                       test_s13_live_streams.py
S14 SIGTERM under load                 test_s14_sigterm.py
    the hook against all of it         test_hooks.py
"""
