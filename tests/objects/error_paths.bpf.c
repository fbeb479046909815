// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Error paths that no packet reaches. Each program is there twice: right, and with a bug that only a failing call shows. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u64);
} flows SEC(".maps");

__u32 in_flight = 0;

/* Counts what is under way, and forgets to undo it when there is no room for the record. */
static __always_inline int count(int undo)
{
	__u32 *event;

	__sync_fetch_and_add(&in_flight, 1);
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event) {
		if (undo)
			__sync_fetch_and_add(&in_flight, -1);
		return XDP_DROP;
	}
	*event = 1;
	bpf_ringbuf_submit(event, 0);
	__sync_fetch_and_add(&in_flight, -1);
	return XDP_PASS;
}

SEC("xdp")
int counter(struct xdp_md *ctx)
{
	return count(1);
}

SEC("xdp")
int counter_kept(struct xdp_md *ctx)
{
	return count(0);
}

/* Lets a flow in that it could not remember. */
static __always_inline int remember(struct xdp_md *ctx, int otherwise)
{
	__u32 key = ctx->data_end - ctx->data;
	__u64 one = 1;

	return bpf_map_update_elem(&flows, &key, &one, BPF_ANY) ? otherwise : XDP_PASS;
}

SEC("xdp")
int full_map(struct xdp_md *ctx)
{
	return remember(ctx, XDP_DROP);
}

SEC("xdp")
int full_map_passes(struct xdp_md *ctx)
{
	return remember(ctx, XDP_PASS);
}

struct tagged {
	struct ethhdr eth;
	__be16 tag, proto;
} __attribute__((packed));

/* Adds a VLAN tag. When there is no room for it, the header has been changed already, or not. */
static __always_inline int tag(struct xdp_md *ctx, int before)
{
	struct ethhdr *eth = (void *)(long)ctx->data;
	struct ethhdr old;
	struct tagged *new;

	if ((void *)(eth + 1) > (void *)(long)ctx->data_end)
		return XDP_DROP;
	old = *eth;
	if (before)
		eth->h_proto = bpf_htons(ETH_P_8021Q);
	if (bpf_xdp_adjust_head(ctx, (int)sizeof(*eth) - (int)sizeof(*new)))
		return XDP_PASS;
	new = (void *)(long)ctx->data;
	if ((void *)(new + 1) > (void *)(long)ctx->data_end)
		return XDP_DROP;
	new->proto = old.h_proto;
	old.h_proto = bpf_htons(ETH_P_8021Q);
	new->eth = old;
	new->tag = bpf_htons(5);
	return XDP_PASS;
}

SEC("xdp")
int tagger(struct xdp_md *ctx)
{
	return tag(ctx, 0);
}

SEC("xdp")
int tagger_stale(struct xdp_md *ctx)
{
	return tag(ctx, 1);
}

char _license[] SEC("license") = "GPL";
