"""Objects here are for tests that name them; the expectations in some are wrong on purpose."""

collect_ignore_glob = ["built/*"]
