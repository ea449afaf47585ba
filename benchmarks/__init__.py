"""Measurements of aideploy beside raw OpenSSH and a plain fabfile: `python -m benchmarks`.

Run by people and by `make bench`; see README.md here. Nothing in this folder is part of the
installed package, and no test asserts on what it measures.
"""
