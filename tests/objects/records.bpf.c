/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Records of every fate: submitted, discarded, refused by a full ring, lost by a full perf buffer. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct event {
	__u32 number;
	__u32 kind;
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} samples SEC(".maps");

struct event *unused;
__u32 number, refused;

/* Every third record is discarded. */
SEC("xdp")
int write(struct xdp_md *ctx)
{
	struct event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

	if (!event) {
		refused++;
		return XDP_PASS;
	}
	event->number = number++;
	event->kind = event->number % 3;
	if (event->kind == 2)
		bpf_ringbuf_discard(event, 0);
	else
		bpf_ringbuf_submit(event, 0);
	return XDP_PASS;
}

/* With all of the packet behind it. */
SEC("xdp")
int sample(struct xdp_md *ctx)
{
	struct event event = {.number = number++};
	__u64 size = ctx->data_end - ctx->data;

	bpf_perf_event_output(ctx, &samples, BPF_F_CURRENT_CPU | size << 32, &event, sizeof(event));
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
