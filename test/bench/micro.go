package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// operation is a row of one single operation of micro.
func operation(name string, t target) row {
	return row{name: name, unit: nanoseconds, target: t, measure: func(b *run, e environment) (float64, error) {
		out, err := outputWithin(30*time.Second, e.wrap([]string{b.path("micro"), name}))
		if err != nil {
			return 0, err
		}
		_, ns, ok := strings.Cut(strings.TrimSpace(string(out)), "\t")
		if !ok {
			return 0, fmt.Errorf("micro printed %q", out)
		}
		return strconv.ParseFloat(ns, 64)
	}}
}

// loopback is a row of two processes of one environment that talk over its own
// loopback.
func loopback(name, what string, t target) row {
	return row{name: name, unit: nanoseconds, target: t, measure: func(b *run, e environment) (float64, error) {
		return number(e.wrap([]string{b.path("micro"), "net", "loopback", what, exchanges}))
	}}
}

// exchanges is how many a sample does.
const exchanges = "2000"

// number runs a program that prints one number.
func number(argv []string) (float64, error) {
	out, err := outputWithin(time.Minute, argv)
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
}
