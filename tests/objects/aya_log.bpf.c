// SPDX-License-Identifier: Apache-2.0
/* What rustc and bpf-linker make of a program with aya-log-ebpf, written in C: definitions of 28 bytes in "maps", a
 * global in Rust's wrappers, records in the wire format of aya-log. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct aya_map_def {
	__u32 type, key_size, value_size, max_entries, map_flags, id, pinning;
};

struct UnsafeCell_3C_bpf_map_def_3E_ {
	struct aya_map_def value;
};

struct RingBuf {
	struct UnsafeCell_3C_bpf_map_def_3E_ def;
};

SEC("maps") struct RingBuf AYA_LOGS = { { { .type = BPF_MAP_TYPE_RINGBUF, .max_entries = 1 << 17 } } };
SEC("maps") struct RingBuf OTHER = { { { BPF_MAP_TYPE_HASH, 4, 8, 16 } } };

union MaybeUninit_3C_u8_3E_ {
	struct {
	} uninit;
	__u8 value;
};

struct Global_3C_u8_3E_ {
	union MaybeUninit_3C_u8_3E_ value;
};

const volatile struct Global_3C_u8_3E_ AYA_LOG_LEVEL = { { .value = 0xff } };
struct Global_3C_u8_3E_ runs;

/* info!(&ctx, "len {} ip {:i}", len, 0x7f000001u32), 128 bytes reserved as aya-log-ebpf does */
static const __u8 record[] = {
	0x52, 0x00,
	0, 3, 0, 'l', 'o', 'g', 1, 1, 0, 3, 2, 3, 0, 'l', 'o', 'g',
	3, 11, 0, 's', 'r', 'c', '/', 'm', 'a', 'i', 'n', '.', 'r', 's',
	4, 4, 0, 14, 0, 0, 0, 5, 4, 0, 6, 0, 0, 0,
	20, 4, 0, 'l', 'e', 'n', ' ', 0, 1, 0, 1, 8, 4, 0, 0, 0, 0, 0,
	20, 4, 0, ' ', 'i', 'p', ' ', 0, 1, 0, 4, 8, 4, 0, 1, 0, 0, 0x7f,
};
#define LEN_AT 60

SEC("xdp")
int log_len(struct xdp_md *ctx)
{
	__u32 len = ctx->data_end - ctx->data;
	__u8 *out;

	runs.value.value++;
	if (AYA_LOG_LEVEL.value.value < 3)
		return XDP_PASS;
	out = bpf_ringbuf_reserve(&AYA_LOGS, 128, 0);
	if (!out)
		return XDP_ABORTED;
	__builtin_memcpy(out, record, sizeof(record));
	__builtin_memcpy(out + LEN_AT, &len, sizeof(len));
	bpf_ringbuf_submit(out, 0);
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
