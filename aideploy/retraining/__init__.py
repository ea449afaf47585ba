"""What starts a training anew without a person: a timer, or an alert.

Both run `fab deploy --if-new` on the machine that deploys, so that what comes of it passes the same
gates as any other release.
"""
