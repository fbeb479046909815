/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Issue 12, line 23: clang 14 gives a variable of a complex type the BTF type void. */
double _Complex z;
int runs;

__attribute__((section("xdp"), used)) int gives_2(void *ctx)
{
	runs++;
	return 2;
}

char _license[] __attribute__((section("license"), used)) = "GPL";
