package main

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Rows of real servers on the near end of a wire, and their clients on the far
// one. What is not installed is not measured: apt-get install iperf3
// redis-server redis-tools nginx-light wrk.

// seconds is how long a client of a server that is measured by the second runs.
func seconds() string {
	if *quick {
		return "1"
	}
	return "3"
}

// exchanged is a row of one of micro's connections.
func exchanged(name, what string, t target) row {
	return row{name: name, unit: nanoseconds, target: t, measure: func(b *run, e environment) (float64, error) {
		w, end, err := b.serve(e, b.path("micro"), "net", "serve", port)
		if err != nil {
			return 0, err
		}
		defer end()
		return number(in(w.far, []string{b.path("micro"), "net", what, nearAddress, port, exchanges}))
	}}
}

func iperf(name string, t target, flags ...string) row {
	return row{name: name, unit: gigabits, target: t, rounds: 3, measure: func(b *run, e environment) (float64, error) {
		return b.iperf(e, flags, func() {})
	}}
}

// iperf measures the bandwidth between the wire's ends; started is called when
// the server waits. To iperf3 whoever looked whether it waits was a client that
// broke off, and it may not be ready for the next: that one tries again.
func (b *run) iperf(e environment, flags []string, started func()) (float64, error) {
	w, end, err := b.serve(e, "iperf3", "-s", "-p", port)
	if err != nil {
		return 0, err
	}
	defer end()
	for try := 1; ; try++ {
		started()
		var out []byte
		if out, err = w.client(append([]string{"iperf3", "-c", nearAddress, "-p", port, "-t", seconds(), "-J"}, flags...)...); err != nil {
			return 0, err
		}
		v, err := iperfBandwidth(out)
		if err == nil || try == 5 {
			return v, err
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// iperfBandwidth is what was received, in Gbit/s, by iperf3's JSON.
func iperfBandwidth(text []byte) (float64, error) {
	var result struct {
		End struct {
			Received struct {
				Bits float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		} `json:"end"`
		Error string `json:"error"`
	}
	if err := json.Unmarshal(text, &result); err != nil {
		return 0, fmt.Errorf("iperf3's report: %w", err)
	}
	if result.Error != "" || result.End.Received.Bits == 0 {
		return 0, fmt.Errorf("iperf3: nothing received: %s", result.Error)
	}
	return result.End.Received.Bits / 1e9, nil
}

// measureCPU is what the whole machine computes for a gigabit at full speed, the
// other end's work included, in milliseconds.
func measureCPU(b *run, e environment, flags ...string) (float64, error) {
	var before float64
	rate, err := b.iperf(e, flags, func() { before = busyTime() })
	if err != nil {
		return 0, err
	}
	took, _ := strconv.ParseFloat(seconds(), 64)
	return (busyTime() - before) / (rate * took), nil
}

// busyTime is the milliseconds that all processors have computed.
func busyTime() float64 {
	text, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(text), "\n")
	return busyTicks(line) * 10
}

// busyTicks is the sum of /proc/stat's first line without what was idle, waited
// or stolen, and without guests' time, which user time counts already.
func busyTicks(line string) (ticks float64) {
	for i, f := range strings.Fields(line) {
		n, _ := strconv.ParseFloat(f, 64)
		switch i {
		case 1, 2, 3, 6, 7: // user, nice, system, irq, softirq
			ticks += n
		}
	}
	return ticks
}

func measureLoopbackIperf(b *run, e environment) (float64, error) {
	if err := installed("iperf3"); err != nil {
		return 0, err
	}
	script := fmt.Sprintf(`iperf3 -s -p %[1]s >/dev/null 2>&1 & %[2]s net reach 127.0.0.1 %[1]s &&
		iperf3 -c 127.0.0.1 -p %[1]s -t %[3]s -J; status=$?; kill $!; exit $status`, port, b.path("micro"), seconds())
	out, err := output(e.wrap([]string{"/bin/sh", "-c", script}))
	if err != nil {
		return 0, err
	}
	return iperfBandwidth(out)
}

// redis is a row of one of redis-benchmark's tests, so many requests in flight
// on each of its 50 connections.
func redis(name, test string, pipelined int, t target) row {
	return row{name: name, unit: requestsPerSecond, target: t, rounds: 3, measure: func(b *run, e environment) (float64, error) {
		if err := installed("redis-benchmark"); err != nil {
			return 0, err
		}
		w, end, err := b.serve(e, "redis-server", "--port", port, "--bind", "0.0.0.0", "--protected-mode", "no", "--save", "", "--appendonly", "no", "--dir", "/tmp")
		if err != nil {
			return 0, err
		}
		defer end()
		out, err := w.client("redis-benchmark", "-h", nearAddress, "-p", port, "-t", test, "-n", strconv.Itoa(15000*pipelined), "-P", strconv.Itoa(pipelined), "--csv")
		if err != nil {
			return 0, err
		}
		return redisRate(string(out), test)
	}}
}

// redisRate is a test's requests a second by redis-benchmark's lines of CSV.
func redisRate(text, test string) (float64, error) {
	for line := range strings.Lines(text) {
		f := strings.Split(strings.TrimSpace(line), ",")
		if len(f) > 1 && strings.EqualFold(strings.Trim(f[0], `"`), test) {
			return strconv.ParseFloat(strings.Trim(f[1], `"`), 64)
		}
	}
	return 0, fmt.Errorf("redis-benchmark printed %s", tail(text))
}

const nginxConfig = `daemon off;
worker_processes 2;
pid /tmp/bulkhead-bench-nginx.pid;
error_log stderr;
user root;
events { worker_connections 1024; }
http {
	access_log off;
	sendfile on;
	keepalive_requests 1000000;
	client_body_temp_path /tmp/bulkhead-bench-nginx;
	proxy_temp_path /tmp/bulkhead-bench-nginx;
	fastcgi_temp_path /tmp/bulkhead-bench-nginx;
	uwsgi_temp_path /tmp/bulkhead-bench-nginx;
	scgi_temp_path /tmp/bulkhead-bench-nginx;
	server { listen PORT; root DIR/www; }
}
`

// nginx is a row of requests for one of its files, by wrk or else ab.
func nginx(name, file string, t target) row {
	return row{name: name, unit: requestsPerSecond, target: t, rounds: 3, measure: func(b *run, e environment) (float64, error) {
		load := []string{"wrk", "-t", "2", "-c", "16", "-d", seconds() + "s"}
		if installed("wrk") != nil {
			load = []string{"ab", "-q", "-k", "-c", "16", "-t", seconds()}
			if installed("ab") != nil {
				return 0, notThere("neither wrk nor ab is installed")
			}
		}
		if err := b.writeSite(); err != nil {
			return 0, err
		}
		w, end, err := b.serve(e, "nginx", "-c", b.path("nginx.conf"))
		if err != nil {
			return 0, err
		}
		defer end()
		defer os.RemoveAll("/tmp/bulkhead-bench-nginx")
		out, err := w.client(append(load, "http://"+nearAddress+":"+port+"/"+file)...)
		if err != nil {
			return 0, err
		}
		return requestRate(string(out))
	}}
}

// requestRate is requests a second as wrk or ab says it.
func requestRate(text string) (float64, error) {
	if strings.Contains(text, "Non-2xx") {
		return 0, fmt.Errorf("not all answers are 200: %s", tail(text))
	}
	m := regexp.MustCompile(`Requests(?:/sec| per second): +([0-9.]+)`).FindStringSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("no rate in %s", tail(text))
	}
	return strconv.ParseFloat(m[1], 64)
}

func (b *run) writeSite() error {
	if err := os.MkdirAll(b.path("www"), 0o755); err != nil {
		return err
	}
	config := strings.NewReplacer("PORT", port, "DIR", b.dir).Replace(nginxConfig)
	for name, text := range map[string]string{
		"nginx.conf": config,
		"www/1k":     strings.Repeat("x", 1<<10),
		"www/1m":     strings.Repeat("x", 1<<20),
	} {
		if err := os.WriteFile(b.path(name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}
