#!/bin/sh
# Expected: __sync_fetch_and_add(&n, 1) whose result nobody reads is "lock *(u64 *)(r2 + 0) += r1", which every kernel has
# (BPF_XADD, Linux 3.18): clang 14 to 19 write that with -mcpu=v2 and -mcpu=v3. The same source and flags give programs for
# the same kernels.
# True: clang 22 with -mcpu=v3 (its default) writes "r1 = atomic_fetch_add(...)" (BPF_FETCH), which Linux has since 5.12:
# older kernels refuse the program ("BPF_STX uses reserved fields"). __atomic_fetch_add(&n, 1, __ATOMIC_RELAXED) and
# -mcpu=v2 still give the old instruction.
# Seen with clang 14.0.6 and 22.1.8 of Debian 12 (packages of apt.llvm.org's version in Debian's archive).
set -eu

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
new=1:22.1.8-1~deb12u1 old=1:14.0.6-12
apt-get -qq download clang-22=$new libclang-cpp22=$new libllvm22=$new libclang-common-22-dev=$new llvm-22=$new \
    clang-14=$old libclang-cpp14=$old libllvm14=$old libclang-common-14-dev=$old > apt.log 2>&1 || { cat apt.log >&2; exit 2; }
for package in *.deb; do dpkg -x "$package" root; done
LD_LIBRARY_PATH=$(find root -name 'lib*.so*' -exec dirname {} + | sort -u | tr '\n' ':')
export LD_LIBRARY_PATH

cat > add.c <<'C'
unsigned long n;
__attribute__((section("xdp"), used)) int sync(void *ctx) { __sync_fetch_and_add(&n, 1); return 2; }
__attribute__((section("xdp"), used)) int relaxed(void *ctx) { __atomic_fetch_add(&n, 1, __ATOMIC_RELAXED); return 2; }
C

# What each of the two functions adds with: "old" or "fetch".
adds() {
    "root/usr/lib/llvm-$1/bin/clang" -target bpf -O2 -mcpu="$2" -c add.c -o add.o
    root/usr/lib/llvm-22/bin/llvm-objdump -d add.o | sed -n 's/.*lock .*/old/p; s/.*atomic_fetch_add.*/fetch/p' | xargs
}

status=0
while read -r version cpu wanted; do
    seen=$(adds "$version" "$cpu")
    echo "clang $version -mcpu=$cpu: __sync_fetch_and_add, relaxed __atomic_fetch_add: $seen"
    [ "$seen" = "$wanted" ] || { echo "  expected: $wanted" >&2; status=1; }
done <<'ROWS'
14 v2 old old
14 v3 old old
22 v2 old old
22 v3 fetch old
ROWS
exit $status
