"""The ranker's own tests: `python -m unittest`, with nothing installed but its requirements."""
