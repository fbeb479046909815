#!/bin/sh
# Expected: "the fewest digits that read back as the same number" (Rust's `{}` of f64, Python's repr) is one text, as both
# promise the shortest form that is nearest to the number.
# True: where two shortest forms are equally near, Rust takes the one away from zero and Python the even one:
# 70368744177664.625 is ...64.63 in Rust and ...64.62 in Python. Text that has to be the same as a Rust program's (a log,
# a golden file) cannot be made with repr(); Decimal with ROUND_HALF_UP at the same number of digits gives it.
# Seen with rustc 1.95.0 and CPython 3.11.7.
set -eu

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
numbers="70368744177664.625 70368744177664.125 70368744177664.375 140737488355328.75 0.1"
{
    echo 'fn main() {'
    for number in $numbers; do echo "    println!(\"{}\", ${number}f64);"; done
    echo '}'
} > shown.rs
rustc -o shown shown.rs
./shown > rust.txt
for number in $numbers; do python3 -c "print(repr($number))"; done > python.txt
for number in $numbers; do
    python3 -c "
from decimal import ROUND_HALF_UP, Context, Decimal
x = $number
print(Context(prec=len(Decimal(repr(x)).as_tuple().digits), rounding=ROUND_HALF_UP).create_decimal(Decimal(x)))"
done > half_up.txt
rustc --version
python3 --version
echo "Rust, Python's repr, rounded half up:"
paste rust.txt python.txt half_up.txt
cmp rust.txt half_up.txt
[ "$(paste rust.txt python.txt | awk '$1"" != $2""' | wc -l)" -eq 2 ]
