// The cilium/ebpf side of benchmarks/aya.py. Built where it is used: go mod tidy && go build
module cilium_load

go 1.24

require github.com/cilium/ebpf v0.22.0
