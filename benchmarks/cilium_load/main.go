// SPDX-License-Identifier: Apache-2.0

// The cilium/ebpf side of the comparisons: what it makes of objects, as one JSON object per line.
//
//	cilium_load verdicts FILE PROGRAM...   each program alone: loaded, or the error
//	cilium_load times < requests           whole loads; a request is FILE and PROGRAM..., separated by tabs.
//	                                       Nanoseconds; the kernel's types stay in memory, as they do by default
//
// What is after "=" in PROGRAM is for other loaders: this one reads targets from sections.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/rlimit"
)

const longest = 1500 // bytes of an error: its end says what is wrong

type verdict struct {
	Name   string `json:"name"`
	Loaded bool   `json:"loaded"`
	Error  string `json:"error,omitempty"`
}

type answer struct {
	Programs []verdict `json:"programs,omitempty"`
	Load     int64     `json:"load,omitempty"`
	Error    string    `json:"error,omitempty"`
}

func main() {
	_ = rlimit.RemoveMemlock()
	out := json.NewEncoder(os.Stdout)
	switch {
	case len(os.Args) > 2 && os.Args[1] == "verdicts":
		_ = out.Encode(verdicts(os.Args[2], names(os.Args[3:])))
	case len(os.Args) == 2 && os.Args[1] == "times":
		lines := bufio.NewScanner(os.Stdin)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			words := strings.Split(lines.Text(), "\t")
			_ = out.Encode(timed(words[0], names(words[1:])))
		}
	default:
		fmt.Fprintln(os.Stderr, "usage: cilium_load verdicts|times [FILE PROGRAM...]")
		os.Exit(2)
	}
}

func names(programs []string) []string {
	for at, program := range programs {
		programs[at], _, _ = strings.Cut(program, "=")
	}
	return programs
}

func verdicts(file string, programs []string) answer {
	spec, err := ebpf.LoadCollectionSpec(file)
	if err != nil {
		return answer{Error: tail(err)}
	}
	var found []verdict
	for _, name := range programs {
		loaded, err := only(spec.Copy(), []string{name})
		if err != nil {
			found = append(found, verdict{Name: name, Error: tail(err)})
			continue
		}
		loaded.Close()
		found = append(found, verdict{Name: name, Loaded: true})
	}
	return answer{Programs: found}
}

func timed(file string, programs []string) answer {
	began := time.Now()
	spec, err := ebpf.LoadCollectionSpec(file)
	if err != nil {
		return answer{Error: tail(err)}
	}
	loaded, err := only(spec, programs)
	took := time.Since(began)
	if err != nil {
		return answer{Error: tail(err)}
	}
	loaded.Close()
	return answer{Load: took.Nanoseconds()}
}

// only loads the maps and these programs, and pins nothing.
func only(spec *ebpf.CollectionSpec, programs []string) (*ebpf.Collection, error) {
	wanted := make(map[string]*ebpf.ProgramSpec)
	for _, name := range programs {
		program, ok := spec.Programs[name]
		if !ok {
			return nil, fmt.Errorf("no program %q", name)
		}
		wanted[name] = program
	}
	spec.Programs = wanted
	for _, one := range spec.Maps {
		one.Pinning = ebpf.PinNone
	}
	return ebpf.NewCollection(spec)
}

func tail(err error) string {
	text := err.Error()
	return text[max(0, len(text)-longest):]
}
