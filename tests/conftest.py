"""For all of the project's tests."""

import signal

pytest_plugins = ["pytester"]
collect_ignore = ["data"]  # what tests read; the project in it is checked for its types, not run

# A run in the background of a shell is started with Ctrl-C ignored, and so would be the processes that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
