"""The tests of aideploy. A package, so that tests and benchmarks can share `tests.lab`."""
