/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Maps of places that packets can be sent to, and of other objects. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define PLACES(name, kind, value_type)                                                                                 \
	struct {                                                                                                       \
		__uint(type, kind);                                                                                    \
		__uint(max_entries, 4);                                                                                \
		__type(key, __u32);                                                                                    \
		__type(value, value_type);                                                                             \
	} name SEC(".maps")

PLACES(ports, BPF_MAP_TYPE_DEVMAP, __u32);
PLACES(ports_with_programs, BPF_MAP_TYPE_DEVMAP_HASH, struct bpf_devmap_val);
PLACES(cpus, BPF_MAP_TYPE_CPUMAP, struct bpf_cpumap_val);
PLACES(queues, BPF_MAP_TYPE_XSKMAP, __u32);
PLACES(sockets, BPF_MAP_TYPE_SOCKMAP, __u64);
PLACES(named_sockets, BPF_MAP_TYPE_SOCKHASH, __u64);
PLACES(listeners, BPF_MAP_TYPE_REUSEPORT_SOCKARRAY, __u64);
PLACES(groups, BPF_MAP_TYPE_CGROUP_ARRAY, __u32);

SEC("xdp")
int to_port(struct xdp_md *ctx)
{
	return bpf_redirect_map(&ports, 1, XDP_DROP);
}

SEC("xdp/devmap")
int on_port(struct xdp_md *ctx)
{
	return XDP_PASS;
}

SEC("xdp/cpumap")
int on_cpu(struct xdp_md *ctx)
{
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
