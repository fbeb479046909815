"""For all of the project's tests."""

pytest_plugins = ["pytester"]
