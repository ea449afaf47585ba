"""Training as detached jobs: what a job is, and the scripts that look after it. Nothing here runs.

A job is a folder on the train host whose files are the truth (scripts/jobs.sh describes them); an
engine only says whether it lives (scripts/engine_*.sh).
"""
