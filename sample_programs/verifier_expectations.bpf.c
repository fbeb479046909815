// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Expectations beside the code: `pytest built/verifier_expectations.bpf.o` tests each program here, without Python. */
#include "lesson.h"
#include "packet.h"
#include "expectations.h"

/* Accepted, and run once on 64 zero bytes. */
SEC("xdp")
__success __retval(2)
int passes_short_packets(struct xdp_md *ctx)
{
	return ctx->data_end - ctx->data < 1500 ? XDP_PASS : XDP_DROP;
}

/* Rejected, for this reason and no other: the texts are in the log in this order. */
SEC("xdp")
__failure
__msg("r{{[0-9]}} = *(u{{8|16}} *)(r{{[0-9]}} +12)") __not_msg("Unreleased reference") __msg("invalid access to packet, off=12")
int reads_past_the_packet(struct xdp_md *ctx)
{
	struct ethhdr *eth = (void *)(long)ctx->data;
	return eth->h_proto == bpf_htons(ETH_P_IP) ? XDP_PASS : XDP_DROP;
}

/* One helper, two answers: what holds depends on the kernel. */
SEC("xdp")
__kernel(">=6.1") __success __retval(1)
int has_the_tai_clock(struct xdp_md *ctx)
{
	return bpf_ktime_get_tai_ns() ? XDP_DROP : XDP_PASS;
}

SEC("xdp")
__kernel("<6.1") __failure __msg("invalid func unknown#208")
int lacks_the_tai_clock(struct xdp_md *ctx)
{
	return bpf_ktime_get_tai_ns() ? XDP_DROP : XDP_PASS;
}

/* The verifier knows the constant, so what cannot run is not there any more. */
const volatile bool verbose = false;

SEC("xdp")
__success __retval(2)
__xlated("{{[rw]}}0 = 2") __xlated("...") __xlated("exit")
int drops_dead_code(struct xdp_md *ctx)
{
	if (verbose)
		return bpf_redirect(1, 0);
	return XDP_PASS;
}

/* Whoever has the capabilities may see kernel addresses; others may not. */
SEC("socket")
__description("a kernel address must not leak to everybody")
__success __retval(POINTER_VALUE)
__failure_unpriv __msg_unpriv("{{R0 leaks addr as return value|R1 partial copy of pointer}}")
int returns_an_address(struct __sk_buff *skb)
{
	return (int)(long)skb;
}

LICENSE("Dual MIT/GPL");
