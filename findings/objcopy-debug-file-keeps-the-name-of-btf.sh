#!/bin/sh
# Expected: vmlinux.debug (objcopy --only-keep-debug), which has all DWARF of a kernel, has its BTF too, or no section .BTF.
# True: it depends on a flag of the section. The linker script of the kernel makes .BTF a part of the image (SHF_ALLOC), and
# then the debug file has the section, with its size, and no bytes (NOBITS): readers that look only at offset and size take
# whatever follows in the file for BTF. In eBPF objects .BTF is not allocated, and there it is kept whole.
# Seen with GNU objcopy 2.40 (Debian 12, binutils 2.40-2).
set -eu

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
apt-get -qq download binutils-x86-64-linux-gnu=2.40-2 libbinutils=2.40-2 libctf0=2.40-2 > apt.log 2>&1 || { cat apt.log >&2; exit 2; }
for package in *.deb; do dpkg -x "$package" unpacked; done
LD_LIBRARY_PATH=$PWD/unpacked/usr/lib/x86_64-linux-gnu
export LD_LIBRARY_PATH
tool() { program=$1; shift; "unpacked/usr/bin/x86_64-linux-gnu-$program" "$@"; }

printf '.data\n.long 1\n.section .debug_info,"",@progbits\n.long 2\n.section .BTF,"",@progbits\n.ascii "types"\n' > plain.s
sed 's/\.BTF,""/.BTF,"a"/' plain.s > allocated.s

status=0
for kind in plain allocated; do
    tool as "$kind.s" -o "$kind.o"
    tool objcopy --only-keep-debug "$kind.o" "$kind.debug"
    seen=$(tool readelf -SW "$kind.debug" | sed -n 's/.* \.BTF *\([A-Z]*\) *[0-9a-f]* [0-9a-f]* \([0-9a-f]*\) .*/\1 \2/p')
    echo "$kind .BTF of 5 bytes, in the debug file: $seen"
    case $kind in plain) wanted="PROGBITS 000005" ;; *) wanted="NOBITS 000005" ;; esac
    [ "$seen" = "$wanted" ] || { echo "  expected: $wanted" >&2; status=1; }
done
exit $status
