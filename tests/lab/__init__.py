"""Real hosts on one machine: Debian containers with their own systemd, sshd and address.

Tests and benchmarks start with `tests.lab.hosts.Lab`; wheels, git and slow lines for those hosts
are in `wheels`, `git_server` and `delay`. Needs root and a few Debian packages (`needs`). Nothing
here is part of the installed package, and nothing here outlives the `with` block it was opened in.
"""
