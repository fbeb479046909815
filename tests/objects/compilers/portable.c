/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Issue 12, line 24: accepted here, refused or read differently elsewhere: a static map (libbpf: "unsupported map linkage
 * static"), a ring buffer whose size is no power of two (cilium/ebpf refuses it, libbpf rounds up), sections that
 * cilium/ebpf reads as a prefix ("xdp_devmap") and that Aya does not know at all ("tc", "?xdp", "syscall"). */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#ifdef STATIC_MAP
static
#endif
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} counts SEC(".maps");

#ifdef ODD_RING
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 5000);
} ring SEC(".maps");
#endif

int first = 1, second = 2;

SEC("tc") int uses_map(struct __sk_buff *ctx)
{
	__u32 zero = 0, *count = bpf_map_lookup_elem(&counts, &zero);

#ifdef ODD_RING
	bpf_ringbuf_output(&ring, &zero, sizeof(zero), 0);
#endif
	if (count)
		*count += first + second;
	return 0;
}

SEC("?xdp") int optional(struct xdp_md *ctx)
{
	return XDP_PASS;
}

SEC("syscall") int called(void *ctx)
{
	return 0;
}

#ifdef PREFIX
SEC("xdp_devmap") int old_name(struct xdp_md *ctx)
{
	return XDP_PASS;
}
#endif

char _license[] SEC("license") = "GPL";
