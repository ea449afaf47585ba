"""The report of a run as one HTML page: what the events and the records say, drawn.

Pure: events and records in, text out. Nothing here connects, and nothing in the page is fetched
from anywhere: style and charts stand in it, a program does not.
"""
