// Package oci reads bundles of the OCI runtime specification and turns their
// config.json into what the sentry and the gofer are told. An error names the
// field: "config.json: process.args: must not be empty".
package oci

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// ConfigName is the file in a bundle that describes the container.
const ConfigName = "config.json"

// maxConfig is far above any real config.json, and keeps a wrong path from
// filling memory. In bytes.
const maxConfig = 16 << 20

// Load reads and checks the configuration of a bundle.
func Load(bundle string) (*specs.Spec, error) {
	var spec specs.Spec
	if err := read(filepath.Join(bundle, ConfigName), ConfigName, &spec); err != nil {
		return nil, err
	}
	if err := validate(&spec); err != nil {
		return nil, fmt.Errorf("%s: %w", ConfigName, err)
	}
	return &spec, nil
}

// LoadProcess reads and checks a file that holds only a process, as exec takes it.
func LoadProcess(path string) (*specs.Process, error) {
	var p specs.Process
	name := filepath.Base(path)
	if err := read(path, name, &p); err != nil {
		return nil, err
	}
	if err := validateProcess("", &p); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &p, nil
}

func read(path, name string, into any) error {
	text, err := readFile(path)
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%s: %w", name, explain(text, err))
	}
	return nil
}

// readFile reads a file that has an end: a bundle's author can put a device in its place.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if len(text) > maxConfig {
		err = fmt.Errorf("%s: more than %d bytes", path, maxConfig)
	}
	return text, err
}

// explain names the field or the line that cannot be read.
func explain(text []byte, err error) error {
	var kind *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &kind) && kind.Field != "":
		return fmt.Errorf("%s: is a JSON %s, must be %s", field(kind.Field), kind.Value, kind.Type)
	case errors.As(err, &syntax):
		before := text[:min(int(syntax.Offset), len(text))]
		line := 1 + bytes.Count(before, []byte("\n"))
		column := len(before) - 1 - bytes.LastIndexByte(before, '\n')
		return fmt.Errorf("line %d, column %d: %w", line, column, err)
	}
	return err
}

// field is a field's path without the names of Go's embedded structs.
func field(path string) string { return strings.TrimPrefix(path, ".") }
