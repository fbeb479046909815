"""Rules about what a program holds: references, locks, sections, objects on the stack.

Wordings: verifier.c of Linux 5.10 to 7.1, and real logs up to 7.3.
"""

from __future__ import annotations

from pytest_ebpf.verifier.rejection.rule import Rule

__all__ = ["STATE_RULES"]

STATE_RULES: tuple[Rule, ...] = (
    # -- references
    Rule(
        "leaked-ref",
        "leaked-ref",
        r"(?:Unreleased|Leaking) reference id=(?P<id>\d+) alloc_insn=(?P<at>\d+)",
        "what instruction {at} acquired is not released on this path",
    ),
    Rule(
        "leaked-ref-exit",
        "leaked-ref",
        r"(?P<what>.+) would lead to reference leak|BPF_LD_\[ABS\|IND\] cannot be mixed with socket references",
        "an acquired object is still held here",
        second=True,
    ),
    Rule(
        "ref-not-owned",
        "bad-release",
        r"(?:func|kfunc) (?P<func>\S+) reference has not been acquired before|arg \d+ is an unacquired reference"
        r"|(?:R\d+|arg#\d+) must be referenced when passed to release"
        r"|release (?:kfunc|helper|kernel function) \S+ expects|CONST_PTR_TO_DYNPTR cannot be released"
        r"|function expects only one referenced object|invalid bpf_context access off=-?\d+\. Reference may already"
        r"|cannot release unowned const bpf_dynptr|(?:R\d+|arg#\d+) is neither owning or non-owning ref"
        r"|allocated object must be referenced|(?:arg#\d+|R\d+) expected pointer to allocated|Reference may already"
        r"|kfunc \S+ conversion of owning ref",
        "the object passed to the call is not owned on this path",
        advice="Pass the pointer that the acquiring call returned, before it is released or given away: an "
        "address on "
        "the stack or a pointer from elsewhere is not acquired.",
    ),
    Rule(
        "untrusted",
        "bad-release",
        r"(?:R\d+|arg#\d+) must be (?:a rcu pointer|referenced or trusted|referenced$|rcu|trusted)"
        r"|Unsupported untrusted|(?:R\d+|arg#\d+) is not trusted",
        "the pointer is not trusted: the call requires one that is trusted, owned or under RCU",
        advice="Pass a pointer that the kernel vouches for: an argument of the program, what an acquiring function "
        "returned, or a kptr of a map that was read under bpf_rcu_read_lock() and compared with NULL. A field of a map "
        "value is a kptr only with the tag: struct bpf_cpumask __kptr *mask.",
    ),
    # -- sections
    Rule(
        "lock-open",
        "lock",
        r"bpf_(?:spin|res_spin|rcu_read)_unlock\S* is missing|\S+_unlock is missing"
        r"|\d+ bpf_preempt_enable\S* .*missing"
        r"|.* cannot be used inside (?P<what>\S+)-ed region",
        "a section that was entered is still open here",
        wordings="...unlock is missing up to 6.12; cannot be used inside ...-ed region since 6.13",
    ),
    Rule(
        "lock-pairing",
        "lock",
        r"\S+_unlock(?:_\S+)? (?:without taking a lock|of different lock|cannot be out of order)"
        r"|Locking two bpf_spin_locks|Acquiring the same lock|unmatched (?:rcu read unlock|attempt to enable)"
        r"|nested rcu read lock|cannot restore irq state|\S*irq flag|arg#\d+ .*irq flag|(?:expected|R\d+) .*irq flag",
        "the section is opened twice, closed twice, or closed in the wrong order",
    ),
    Rule(
        "lock-calls",
        "lock",
        r"function calls are not allowed while holding a lock|global function calls? (?:are|is) not allowed"
        r"|(?!verifier ).* w/o active lock",
        "a call inside a lock or section that does not allow it",
        advice="Call it before the section is entered or after it is left. A function of the program is allowed "
        "there if "
        "it is static: it is then checked as a part of its caller, which a global function is not.",
    ),
    Rule(
        "rcu-wanted",
        "lock",
        r"expected an RCU CS when using (?P<func>\S+)|kernel func \S+ requires RCU critical section",
        "this is allowed only between bpf_rcu_read_lock() and bpf_rcu_read_unlock()",
        wordings="6.7: expected an RCU CS; 6.13: requires RCU critical section protection",
    ),
    # -- objects on the stack
    Rule(
        "dynptr",
        "object-state",
        r"Expected an? (?:initialized )?dynptr|cannot overwrite referenced dynptr"
        r"|Dynptr has to be an uninitialized|cannot pass pointer to const bpf_dynptr|potential write to dynptr"
        r"|(?:arg#\d+|R\d+) expected pointer to stack or const struct bpf_dynptr"
        r"|.*must be an? (?:un)?initialized dynptr"
        r"|cannot pass in \S+ at an offset|(?:dynptr|iter)\S* has to be at (?:a|the) constant offset",
        "the dynptr is not in the state that this call needs",
        wordings="arguments counted from 1 up to 6.12.0, from 0 later (also in stable releases), as R3 since 7.2",
    ),
    Rule(
        "iterator",
        "object-state",
        r"expected (?:an initialized|uninitialized|valid) iter|(?:arg#\d+|R\d+) expected pointer to an iterator"
        r"|expected valid iter pointer|css_task_iter is only allowed",
        "the iterator is not in the state that this call needs",
    ),
)
