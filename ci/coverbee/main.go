// Loads objects with coverbee's counters, runs their programs on packets, and prints which lines ran, as JSON.
//
//	compare PACKETS OBJECT...    PACKETS: a file with a packet in hexadecimal per line
package main

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cilium/coverbee"
	"github.com/cilium/ebpf"
)

type result struct {
	Plain        []string       `json:"plain"`
	Instrumented []string       `json:"instrumented"`
	Lines        map[string]int `json:"lines"`
	Error        string         `json:"error"`
}

func packets(path string) (found [][]byte) {
	file, err := os.Open(path)
	if err != nil {
		panic(err)
	}
	rows := bufio.NewScanner(file)
	rows.Buffer(nil, 1<<20)
	for rows.Scan() {
		data, err := hex.DecodeString(rows.Text())
		if err != nil {
			panic(err)
		}
		found = append(found, data)
	}
	return found
}

func spec(path, only string) (*ebpf.CollectionSpec, error) {
	found, err := ebpf.LoadCollectionSpec(path)
	if err == nil && only != "" {
		found.Programs = map[string]*ebpf.ProgramSpec{only: found.Programs[only]}
	}
	return found, err
}

func one(path string, data [][]byte) (done result) {
	done.Lines = map[string]int{}
	defer func() {
		if err := recover(); err != nil {
			done.Error = fmt.Sprint(err)
		}
	}()
	all, err := spec(path, "")
	if err != nil {
		done.Error = err.Error()
		return done
	}
	for name := range all.Programs {
		alone, _ := spec(path, name)
		plain, err := ebpf.NewCollection(alone)
		if err != nil {
			continue
		}
		plain.Close()
		done.Plain = append(done.Plain, name)
		cover(path, name, data, &done)
	}
	return done
}

func cover(path, name string, data [][]byte, done *result) {
	defer func() {
		if err := recover(); err != nil {
			done.Error = fmt.Sprint(err)
		}
	}()
	again, _ := spec(path, name)
	loaded, blocks, err := coverbee.InstrumentAndLoadCollection(again, ebpf.CollectionOptions{}, nil)
	if err != nil {
		return
	}
	defer loaded.Close()
	done.Instrumented = append(done.Instrumented, name)
	ran := false
	for _, packet := range data {
		if _, err := loaded.Programs[name].Run(&ebpf.RunOptions{Data: packet, DataOut: make([]byte, 4096)}); err == nil {
			ran = true
		}
	}
	if !ran {
		return
	}
	list := coverbee.CFGToBlockList(blocks)
	if err := coverbee.ApplyCoverMapToBlockList(loaded.Maps["coverbee_covermap"], list); err != nil {
		done.Error = err.Error()
	}
	for _, block := range list {
		for _, line := range block {
			key := fmt.Sprintf("%s:%s:%d", name, filepath.Base(line.Filename), line.ProfileBlock.StartLine)
			done.Lines[key] = max(done.Lines[key], line.ProfileBlock.Count)
		}
	}
}

func main() {
	data := packets(os.Args[1])
	found := map[string]result{}
	for _, path := range os.Args[2:] {
		found[path] = one(path, data)
	}
	json.NewEncoder(os.Stdout).Encode(found)
}
