/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What a program writes to its own output and error streams: the function as it is since Linux 7.0. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define STDOUT 1
#define STDERR 2

#ifdef BEFORE_7_0 /* Linux 6.17; the verifier fills the last argument in */
extern int bpf_stream_vprintk_impl(int stream_id, const char *fmt, const void *args, __u32 len, void *aux) __ksym;
#define vprintk(...) bpf_stream_vprintk_impl(__VA_ARGS__, (void *)0)
#else
extern int bpf_stream_vprintk(int stream_id, const char *fmt, const void *args, __u32 len) __ksym;
#define vprintk bpf_stream_vprintk
#endif

#define say(stream, format, ...)                                                                                       \
	({                                                                                                             \
		static const char text[] = format;                                                                     \
		__u64 values[] = {__VA_ARGS__};                                                                        \
		vprintk(stream, text, values, sizeof(values));                                                         \
	})

SEC("syscall")
int speak(void *ctx)
{
	int failed = say(STDOUT, "one is %d, two is %d\n", 1, 2);

	failed = failed ?: say(STDERR, "trouble at %x\n", 0x40);
	return failed ?: say(STDOUT, "bye %d\n", 3);
}

SEC("syscall")
int silent(void *ctx)
{
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
