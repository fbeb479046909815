"""The facts about a kernel that a plan needs, asked in one batch.

``facts_ops`` is the batch, ``read_facts`` reads its answers. What few objects need (the kernel's configuration, its
symbol addresses, the types of its modules) is asked for when an object needs it: ``plan.learn``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pytest_ebpf.agent import ops
from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.errors import PlanError
from pytest_ebpf.frozen import dataclass, field, replace
from pytest_ebpf.obj.insn import CALL, LD_IMM64, Insn, pack_insns
from pytest_ebpf.obj.object import Extern, ObjectFile
from pytest_ebpf.plan.btf_features import BTF_FEATURES
from pytest_ebpf.uapi.enums import AttachType, MapType, ProgType
from pytest_ebpf.uapi.flags import MapCreateFlag
from pytest_ebpf.uapi.insn import PseudoLoad

__all__ = ["FACTS_PROBES", "Facts", "facts_of", "facts_ops", "is_untyped", "probes_worked", "read_facts"]

_GET_ATTACH_COOKIE = 174  # helper id, Linux 5.15
_EXIT = Insn(0x95)
_R0_IS_0 = Insn(0xB7)
# Loads the address of the function behind it. Without BTF every kernel refuses it, but one that supports callbacks
# reports why.
_CALLBACK = [Insn(LD_IMM64, 1, PseudoLoad.FUNC, imm=3), Insn(0), _R0_IS_0, _EXIT, _R0_IS_0, _EXIT]
_CALLBACK_WORDS = b"func_info"
_GLOBAL_DATA = [Insn(LD_IMM64, 1, PseudoLoad.MAP_VALUE), Insn(0), _R0_IS_0, _EXIT]


FACTS_PROBES = len(BTF_FEATURES) + 6


@dataclass(frozen=True, slots=True)
class Facts:
    """``btf``: the kernel's types, None when it has none. ``btf_features``: names in ``BTF_FEATURES`` it accepts.

    ``array_mmap``: arrays can be mmapable (5.5). ``attach_type``: programs carry an expected attach type (4.17).
    ``attach_cookie``: bpf_get_attach_cookie() exists (5.15). ``callbacks``: functions can be passed to helpers (5.13).
    ``names``: objects can be given names (4.15). ``global_data``: map values can be loaded as addresses (5.2).
    ``kconfig``, ``kallsyms``: the texts, None until asked for by ``plan.learn``, "" when this kernel hides them;
    ``signature``: Ubuntu's /proc/version_signature, which has the upstream version, likewise.
    ``modules``: types of kernel modules by name, None until asked for; ``listed``: the names of those that are loaded
    now, None when that is to be asked again. ``core_btf``: types that
    CO-RE uses instead of the kernel's own. ``data``: the answers to ``plan.data_probes``.
    """

    described: ops.Described
    btf: Btf | None = None
    btf_features: frozenset[str] = frozenset()
    array_mmap: bool = True
    attach_type: bool = True
    attach_cookie: bool = True
    callbacks: bool = True
    names: bool = True
    global_data: bool = True
    kconfig: str | None = field(default=None, repr=False)
    kallsyms: str | None = field(default=None, repr=False)
    signature: str | None = None
    modules: Mapping[str, Btf] | None = None
    listed: tuple[str, ...] | None = None
    core_btf: Btf | None = None
    data: Mapping[str, bool] = field(default_factory=dict)


def facts_ops(*, byteorder: str = "little") -> list[ops.Op]:
    """One batch of probes. Each may fail on its own; the objects it makes are closed."""
    probes: list[ops.Op] = [ops.BtfLoad(feature.probe(byteorder=byteorder)) for feature in BTF_FEATURES]
    probes += [
        ops.MapCreate(type=MapType.ARRAY, key_size=4, value_size=4, max_entries=1, flags=MapCreateFlag.MMAPABLE),
        _prog(
            ProgType.CGROUP_SOCK, [_R0_IS_0, _EXIT], byteorder=byteorder, attach_type=AttachType.CGROUP_INET_SOCK_CREATE
        ),
        _prog(ProgType.KPROBE, [Insn(CALL, imm=_GET_ATTACH_COOKIE), _EXIT], byteorder=byteorder),
        replace(_prog(ProgType.SOCKET_FILTER, _CALLBACK, byteorder=byteorder), log_level=1),
        ops.MapCreate(type=MapType.ARRAY, key_size=4, value_size=4, max_entries=1, name="probe"),
    ]
    named = len(probes)
    global_data = _prog(ProgType.SOCKET_FILTER, _GLOBAL_DATA, byteorder=byteorder)
    probes.append(replace(global_data, patches=(ops.FdPatch(0, ops.Ref(named)),)))
    closes = [ops.Try(ops.Close(ops.Ref(index))) for index in range(1, len(probes) + 1)]
    return [ops.Describe(), *(ops.Try(probe) for probe in probes), *closes]


def read_facts(results: Sequence[ops.Result], *, btf: Btf | None) -> Facts:
    """``results`` are the answers to ``facts_ops``; ``btf`` the kernel's parsed types, from the cache or the kernel."""
    described = results[0]
    if not isinstance(described, ops.Described):
        raise PlanError(f"the kernel did not describe itself: {described}")
    return facts_of(described, probes_worked(results), btf=btf)


def probes_worked(results: Sequence[ops.Result]) -> list[bool]:
    """Which of the ``FACTS_PROBES`` worked, by the answers to ``facts_ops``."""
    worked = [isinstance(result, ops.Made | ops.ProgLoaded) for result in results[1 : FACTS_PROBES + 1]]
    callbacks = len(BTF_FEATURES) + 3
    worked[callbacks] |= _CALLBACK_WORDS in getattr(results[callbacks + 1], "log", b"")
    return worked


def facts_of(described: ops.Described, worked: Sequence[bool], *, btf: Btf | None) -> Facts:
    """The facts by which of the ``FACTS_PROBES`` worked."""
    count = len(BTF_FEATURES)
    return Facts(
        described=described,
        btf=btf,
        btf_features=frozenset(f.name for f, ok in zip(BTF_FEATURES, worked[:count], strict=True) if ok),
        array_mmap=worked[count],
        attach_type=worked[count + 1],
        attach_cookie=worked[count + 2],
        names=worked[count + 4],
        # without the named map the probe cannot run: assume yes, as every kernel since 5.2
        global_data=worked[count + 5] or not worked[count + 4],
        callbacks=worked[count + 3],
    )


def is_untyped(extern: Extern, obj: ObjectFile) -> bool:
    """Whether a ksym has no type, or void: then only its address can be found."""
    if extern.kind != "ksym":
        return False
    return not (extern.type_id and obj.btf is not None and obj.btf.resolve(extern.type_id))


def _prog(type_: int, insns: list[Insn], *, byteorder: str, attach_type: int = 0) -> ops.ProgLoad:
    return ops.ProgLoad(
        type=type_,
        insns=pack_insns(insns, byteorder=byteorder),
        license="GPL",
        expected_attach_type=attach_type,
        log_level=0,
    )
