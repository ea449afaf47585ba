"""What all tests share: the fixtures and rules of `tests.lab.plugin`."""

pytest_plugins = ["tests.lab.plugin", "tests.fleet.fixtures", "tests.prometheus"]
