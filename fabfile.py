"""What `fab` finds in a checkout: the tasks of aideploy."""

from aideploy import namespace

ns = namespace()
