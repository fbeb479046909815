/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* One of everything that can be asked to be different when an object is loaded. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

extern int LINUX_KERNEL_VERSION __kconfig;
extern _Bool LINUX_HAS_SYSCALL_WRAPPER __kconfig;
extern _Bool LINUX_HAS_BPF_COOKIE __kconfig;
extern int CONFIG_HZ __kconfig __weak;
extern enum libbpf_tristate CONFIG_NOT_THERE_AT_ALL __kconfig __weak;

struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, 1);
} inner_one SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 4);
	__type(key, __u32);
	__array(values, struct inner);
} outer SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 2);
} table SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 8);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} shared SEC(".maps");

const volatile int limit = 1;
int counter = 10;
int own_section SEC(".data.mine") = 4;

SEC("xdp") int use_all(struct xdp_md *ctx)
{
	__u32 key = 1;
	__u64 *value = bpf_map_lookup_elem(&table, &key);
	__u64 one = 1;

	counter += limit + own_section;
	bpf_map_update_elem(&shared, &key, &one, BPF_ANY);
	bpf_map_lookup_elem(&outer, &key);
	return value ? *value : 0;
}

SEC("?xdp") int hz(struct xdp_md *ctx)
{
	return CONFIG_HZ;
}

SEC("?xdp") int version(struct xdp_md *ctx)
{
	return LINUX_KERNEL_VERSION;
}

SEC("?xdp") int probed(struct xdp_md *ctx)
{
	return LINUX_HAS_SYSCALL_WRAPPER | LINUX_HAS_BPF_COOKIE << 1 | CONFIG_NOT_THERE_AT_ALL << 2;
}

/* no section that anybody knows: it costs this program, unless a test says what it is */
SEC("mystery/x") int unknown(void *ctx)
{
	return 5;
}

__attribute__((noinline)) int replaceable(struct xdp_md *ctx)
{
	return ctx->ingress_ifindex ? 1 : 2;
}

SEC("?xdp") int calls_replaceable(struct xdp_md *ctx)
{
	return replaceable(ctx);
}

SEC("?freplace/replaceable") int replacement(struct xdp_md *ctx)
{
	return 77;
}

char LICENSE[] SEC("license") = "GPL";
