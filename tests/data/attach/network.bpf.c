// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* One program for each way to see a packet on its way: each counts, and lets pass or drops. */
#include "counted.h"

#define PASS_TC (-1) /* TC_ACT_UNSPEC: the next program decides */
#define SHOT_TC 2

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, 4);
	__type(key, u32);
	__type(value, struct bpf_devmap_val);
} devices SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_CPUMAP);
	__uint(max_entries, 4);
	__type(key, u32);
	__type(value, struct bpf_cpumap_val);
} processors SEC(".maps");

/* Which programs saw the last packets, oldest first: one digit each. */
u64 trail = 0;

static __always_inline void passed(u32 slot)
{
	trail = trail * 10 + slot;
	count(slot);
}

SEC("xdp")
int xdp_pass(struct xdp_md *ctx)
{
	count(0);
	return XDP_PASS;
}

SEC("xdp")
int xdp_drop(struct xdp_md *ctx)
{
	count(1);
	return XDP_DROP;
}

SEC("xdp")
int to_device(struct xdp_md *ctx)
{
	count(2);
	return bpf_redirect_map(&devices, 0, 0);
}

SEC("xdp")
int to_processor(struct xdp_md *ctx)
{
	count(2);
	return bpf_redirect_map(&processors, 0, 0);
}

SEC("xdp.frags")
int xdp_frags(struct xdp_md *ctx)
{
	count(5);
	return XDP_DROP;
}

SEC("xdp/devmap")
int on_device(struct xdp_md *ctx)
{
	count(3);
	return XDP_DROP;
}

SEC("xdp/cpumap")
int on_processor(struct xdp_md *ctx)
{
	count(4);
	return XDP_DROP;
}

SEC("tc")
int tc_one(struct __sk_buff *ctx)
{
	passed(1);
	return PASS_TC;
}

SEC("tc")
int tc_two(struct __sk_buff *ctx)
{
	passed(2);
	return PASS_TC;
}

SEC("tc/egress")
int tc_three(struct __sk_buff *ctx)
{
	passed(3);
	return PASS_TC;
}

SEC("tc/egress")
int tc_shot(struct __sk_buff *ctx)
{
	passed(4);
	return SHOT_TC;
}

SEC("action")
int tc_action(struct __sk_buff *ctx)
{
	passed(5);
	return SHOT_TC;
}

SEC("netkit/primary")
int netkit_primary(struct __sk_buff *ctx)
{
	passed(6);
	return PASS_TC;
}

SEC("netkit/peer")
int netkit_peer(struct __sk_buff *ctx)
{
	passed(7);
	return SHOT_TC;
}

SEC("lwt_in")
int route_in(struct __sk_buff *ctx)
{
	count(1);
	return BPF_DROP;
}

SEC("lwt_out")
int route_out(struct __sk_buff *ctx)
{
	count(2);
	return BPF_DROP;
}

SEC("lwt_xmit")
int route_xmit(struct __sk_buff *ctx)
{
	count(3);
	return BPF_DROP;
}

SEC("lwt_xmit")
int route_xmit_pass(struct __sk_buff *ctx)
{
	count(4);
	return BPF_OK;
}

SEC("lwt_seg6local")
int route_seg6local(struct __sk_buff *ctx)
{
	count(5);
	return BPF_DROP;
}

SEC("flow_dissector")
int dissect(struct __sk_buff *ctx)
{
	count(6);
	return BPF_OK;
}

SEC("lirc_mode2")
int infrared(unsigned int *sample)
{
	count(7);
	return 0;
}
