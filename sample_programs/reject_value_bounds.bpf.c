// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Rejected: an index that may lie outside of the map value; masking or comparing it would do. */
#include "lesson.h"

struct table {
	u64 cells[8];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct table);
} tables SEC(".maps");

SEC("xdp")
int unchecked_index(struct xdp_md *ctx)
{
	u32 zero = 0, index = ctx->rx_queue_index;
	struct table *table = bpf_map_lookup_elem(&tables, &zero);
	if (!table || index > 8) /* off by one: 8 is too many */
		return XDP_DROP;
	return table->cells[index] ? XDP_PASS : XDP_DROP;
}

LICENSE("Dual MIT/GPL");
