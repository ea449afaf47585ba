"""What `fab diagnose` concludes: facts of the hosts in, causes out, the likeliest first.

Pure: nothing in this room connects. `commands/diagnose.py` calls it.
"""
