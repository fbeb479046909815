// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* A program with USDT probes whose arguments are known, built without the C library (ci/gen_attach): each run hits
 * demo:mixed twice, with a constant, registers of several widths and memory; demo:guarded only while its semaphore says
 * that somebody listens; demo:none, which has no arguments. It prints how often demo:guarded was hit. Built with FOREVER
 * it hits demo:mixed fifty times a second until it is killed. */
typedef unsigned long u64;

__attribute__((section(".probes"), used)) unsigned short demo_guarded_semaphore;

#define NOTE(provider, name, semaphore, args)                                                                          \
	".pushsection .note.stapsdt,\"?\",\"note\"\n"                                                                  \
	".balign 4\n"                                                                                                  \
	".4byte 992f-991f, 994f-993f, 3\n"                                                                             \
	"991: .asciz \"stapsdt\"\n"                                                                                    \
	"992: .balign 4\n"                                                                                             \
	"993: .8byte 990b\n"                                                                                           \
	".8byte _.stapsdt.base\n"                                                                                      \
	".8byte " semaphore "\n"                                                                                       \
	".asciz \"" provider "\"\n"                                                                                    \
	".asciz \"" name "\"\n"                                                                                        \
	".asciz \"" args "\"\n"                                                                                        \
	"994: .balign 4\n"                                                                                             \
	".popsection\n"
#define BASE                                                                                                           \
	".ifndef _.stapsdt.base\n"                                                                                     \
	".pushsection .stapsdt.base,\"aG\",\"progbits\",.stapsdt.base,comdat\n"                                        \
	".weak _.stapsdt.base\n"                                                                                       \
	".hidden _.stapsdt.base\n"                                                                                     \
	"_.stapsdt.base: .space 1\n"                                                                                   \
	".size _.stapsdt.base, 1\n"                                                                                    \
	".popsection\n"                                                                                                \
	".endif\n"

static long syscall3(long number, long a, long b, long c)
{
	long result;

	__asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
	return result;
}

static __attribute__((always_inline)) inline void mixed(long number)
{
	long slots[3] = { 111, number, -333 };
	register long wide __asm__("r8") = 0x1ff;

	__asm__ volatile("990: nop\n" NOTE("demo", "mixed", "0", "-4@$-7 8@%%rbx -4@%%ecx -8@16(%%rdx) 1@%%r8b") BASE
			 :
			 : "b"(number), "c"(-5L & 0xffffffff), "d"(slots), "r"(wide), "m"(slots));
}

static __attribute__((noinline)) int guarded(void)
{
	if (!*(volatile unsigned short *)&demo_guarded_semaphore)
		return 0;
	__asm__ volatile("990: nop\n" NOTE("demo", "guarded", "demo_guarded_semaphore", "4@$42") BASE);
	return 1;
}

static __attribute__((noinline)) void none(void)
{
	__asm__ volatile("990: nop\n" NOTE("demo", "none", "0", "") BASE);
}

__attribute__((noreturn, used)) void _start(void)
{
	static char line[] = "0\n";

#ifdef FOREVER
	for (;;) {
		long pause[2] = { 0, 20000000 };

		mixed(1003);
		syscall3(35, (long)pause, 0, 0);
	}
#endif
	mixed(1001);
	mixed(1002);
	line[0] += guarded() + guarded();
	none();
	syscall3(1, 1, (long)line, 2);
	syscall3(60, 0, 0, 0);
	for (;;)
		;
}
