"""What the commands beside `deploy` do, one module each: `fab status` is `commands.status`.

Each takes a `Run`, uses its fleet, and fills in its last word. They decide; the fleet does.
"""
