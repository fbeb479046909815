/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Issue 12, line 3: nothing here needs BTF, so a kernel that refuses the object's must not matter. No header, so that
 * every compiler takes it: GCC 12 and 14 (-gbtf; empty .BTF.ext records), clang -g1 and -gline-tables-only (FUNC
 * records without types). Two globals and a subprogram. */
typedef unsigned int u32;
struct xdp_md {
	u32 data, data_end;
};

char letter = 'a';
u32 runs;

__attribute__((noinline)) static u32 add(u32 a, u32 b)
{
	return a + b;
}

__attribute__((section("xdp"), used)) int gives_3(struct xdp_md *ctx)
{
	runs = runs + 1;
	return add(runs, letter - 'a' + 2);
}

char _license[] __attribute__((section("license"), used)) = "GPL";
