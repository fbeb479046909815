#!/bin/sh
# Expected: a table of strings (static const char *const names[]) in an eBPF object either works or is an error of the loader.
# True: libbpf skips relocations of data sections with a line at level INFO, and opens the object. The table in the .rodata map
# holds offsets into the section of the strings (0, 6) in the place of addresses. A program that hands names[1] to
# bpf_printk("%s") passes the verifier and prints nothing sensible; one that reads through it is refused as "R1 invalid mem access
# 'scalar'", without a word about the relocation.
# Seen with libbpf 1.1.2 and clang 14.0.6 (Debian 12). Needs gcc and the headers of libc.
set -eu

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
bpf=1:1.1.2-0+deb12u1 llvm=1:14.0.6-12
apt-get -qq download libbpf-dev=$bpf libbpf1=$bpf clang-14=$llvm libclang-cpp14=$llvm libllvm14=$llvm \
    libclang-common-14-dev=$llvm > apt.log 2>&1 || { cat apt.log >&2; exit 2; }
for package in *.deb; do dpkg -x "$package" root; done
LD_LIBRARY_PATH=$(find root -name 'lib*.so*' -exec dirname {} + | sort -u | sed "s|^|$PWD/|" | tr '\n' ':')
export LD_LIBRARY_PATH

cat > table.c <<'C'
static const char *const names[] = {"alpha", "beta"};
static long (*print)(const char *, unsigned, ...) = (void *)6;
struct xdp { unsigned words[6]; };
__attribute__((section("xdp"), used)) int prints(struct xdp *ctx)
{
    static const char format[] = "%s";
    print(format, sizeof(format), names[ctx->words[4] & 1]);
    return 2;
}
__attribute__((section("license"), used)) char licence[] = "GPL";
C
root/usr/lib/llvm-14/bin/clang -target bpf -O2 -g -c table.c -o table.o

cat > open.c <<'C'
#include <stdio.h>
#include <string.h>
#include <bpf/libbpf.h>
static int say(enum libbpf_print_level level, const char *format, va_list args)
{
    if (level == LIBBPF_INFO)
        vprintf(format, args);
    return level == LIBBPF_WARN ? vfprintf(stderr, format, args) : 0;
}
int main(void)
{
    struct bpf_object *object;
    struct bpf_map *map;
    size_t size = 0;
    const char *value;

    libbpf_set_print(say);
    object = bpf_object__open_file("table.o", NULL);
    if (!object)
        return 3;
    bpf_object__for_each_map(map, object)
        if (strstr(bpf_map__name(map), ".rodata") && (value = bpf_map__initial_value(map, &size)) && size >= 16)
            for (size_t at = 0; at + 8 <= size; at += 8) {
                unsigned long pointer;
                memcpy(&pointer, value + at, 8);
                printf("word %zu: %lu\n", at / 8, pointer);
            }
    return 0;
}
C
gcc -I root/usr/include open.c -L root/usr/lib/x86_64-linux-gnu -l:libbpf.so.1 -o open
./open | tee seen
grep -q 'skipping relo section' seen && grep -qx 'word 1: 0' seen && grep -qx 'word 2: 6' seen
