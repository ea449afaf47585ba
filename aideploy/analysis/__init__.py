"""The live analysis: what Prometheus says of a release against limits and against what it replaces.

Pure: windows of numbers in, findings out. Asking is `aideploy.transaction.analysing`'s.
"""
