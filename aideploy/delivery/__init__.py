"""How a release comes to its hosts, up to the switch: the phases as they happen, one module each.

The story calls them in their order. What a phase means is decided in `phases/`; here its work is
given to the hosts, and what came of it is noted in what is known of the release.
"""
