"""The fabfile of somebody else: aideploy's tasks stand beside their own."""

import time

from fabric import task

import aideploy

# Not the last line, as in many fabfiles: the tasks below count all the same.
ns = aideploy.namespace(__name__)


@task
def status(c):
    """Say how the shop is."""
    print("the shop is open")


@task
def nightly(c):
    """Train tonight's model; put it live only if it is good."""
    with aideploy.deployment(c, command="nightly") as d:
        d.fetch()
        d.install()
        d.test()
        d.train()
        if d.evaluate().blessed:
            d.rollout()


@task(help={"verdict": "what the check of our own says: well, bad, crash, sleep"})
def careful(c, verdict):
    """Switch, check in a way of our own, and only then finish."""
    with aideploy.deployment(c, command="careful") as d:
        d.fetch()
        d.install()
        d.train()
        d.distribute()
        d.stage()
        d.switch()
        if verdict == "crash":
            raise RuntimeError("the check of our own crashed")
        if verdict == "sleep":
            print("switched, and asleep", flush=True)
            time.sleep(60)
        if verdict == "well":
            d.finish()


@task
def hasty(c):
    """Call the phases in an order that makes no sense."""
    with aideploy.deployment(c, command="hasty") as d:
        d.fetch()
        d.switch()
