"""The readers of events: screen, plain lines, folded CI logs, the JSON result, the log file.

`aideploy.report.choose.readers` picks the ones that fit where the output goes; `tables` prints the
facts of commands such as `status`. Nothing in this room talks to a host or decides anything: it
only shows what was published, and what came from a host is made harmless before it is shown.
"""
