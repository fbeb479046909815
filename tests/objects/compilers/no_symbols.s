# SPDX-License-Identifier: MIT OR GPL-2.0-only
# Issue 12, line 19: code whose symbol is no function (no .type), as hand-written assembly and -fno-... tools leave it.
	.section	xdp,"ax",@progbits
	.globl	without_type
without_type:
	r0 = 2
	exit
	.section	license,"aw",@progbits
_license:
	.asciz	"GPL"
