"""The record: what each release was made of, how it was judged, by whom, and when it was live.

Pure: what a deploy knows goes in, release.json comes out; what the hosts kept goes in, answers come
out. Nothing here connects to a host.
"""
