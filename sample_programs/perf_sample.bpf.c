// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Lesson: events through perf buffers, one per CPU, with the start of the packet behind each record. */
#include "lesson.h"
#include "packet.h"

#define SNAP 64

struct sample {
	u32 size;
	u32 captured;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(u32));
	__uint(value_size, sizeof(u32));
} samples SEC(".maps");

/* Names the record's type for its reader: the map itself cannot. */
const struct sample *sample_type __attribute__((unused));

SEC("xdp")
int capture(struct xdp_md *ctx)
{
	u32 size = ctx->data_end - ctx->data;
	struct sample sample = {.size = size, .captured = size < SNAP ? size : SNAP};
	/* Bits 32 and up: how much of the packet the kernel shall append. */
	u64 flags = BPF_F_CURRENT_CPU | (u64)sample.captured << 32;
	return bpf_perf_event_output(ctx, &samples, flags, &sample, sizeof(sample)) ? XDP_ABORTED : XDP_PASS;
}

LICENSE("Dual MIT/GPL");
