"""What most tests do not ask of a program: budgets and captures. One door for both, opened on first use."""

from __future__ import annotations

from pytest_ebpf.live.budget import check_within, figures_of, line_costs
from pytest_ebpf.live.run.captures import captured

__all__ = ["captured", "check_within", "figures_of", "line_costs"]
