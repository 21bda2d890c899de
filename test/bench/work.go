package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// startUp is a row of a whole program, start and end of the environment
// included.
func startUp(name string, argv ...string) row {
	return row{name: name, unit: milliseconds, measure: func(_ *run, e environment) (float64, error) {
		if err := installed(argv[0]); err != nil {
			return 0, err
		}
		start := time.Now()
		_, err := output(e.wrap(argv))
		return float64(time.Since(start)) / 1e6, err
	}}
}

// work is a row of a program within an environment that has started already:
// the middle of so many runs after one to warm up, or the only one if 0. In the
// arguments DIR is the directory of the run.
func work(name string, warm int, t target, argv ...string) row {
	return row{name: name, unit: milliseconds, target: t, measure: func(b *run, e environment) (float64, error) {
		return b.work(e, warm, argv...)
	}}
}

func (b *run) work(e environment, warm int, argv ...string) (float64, error) {
	if err := installed(argv[0]); err != nil {
		return 0, err
	}
	line := []string{b.path("micro"), "spawn", strconv.Itoa(warm)}
	for _, a := range argv {
		line = append(line, strings.ReplaceAll(a, "DIR", b.dir))
	}
	return number(e.wrap(line))
}

// installed is nil if a program is there.
func installed(program string) error {
	if _, err := exec.LookPath(program); err != nil {
		return notThere(filepath.Base(program) + " is not installed")
	}
	return nil
}

const (
	projectFiles     = 50
	projectFunctions = 30 // of each file
)

// writeProjects writes what the rows compile.
func (b *run) writeProjects() error {
	files := map[string]string{
		"hello.c":      "#include <stdio.h>\nint main(void) { puts(\"hello\"); return 0; }\n",
		"go/go.mod":    "module hello\n\ngo 1.21\n",
		"go/main.go":   "package main\n\nimport \"fmt\"\n\nfunc main() { fmt.Println(\"hello\") }\n",
		"gocache/.dir": "",
	}
	var objects, calls, declarations strings.Builder
	for i := range projectFiles {
		files[fmt.Sprintf("project/part%d.c", i)] = projectPart(i)
		fmt.Fprintf(&objects, " $(OUT)/part%d.o", i)
		fmt.Fprintf(&declarations, "int part%d_0(int);\n", i)
		fmt.Fprintf(&calls, "\tsum += part%d_0(sum);\n", i)
	}
	files["project/main.c"] = "#include <stdio.h>\n" + declarations.String() +
		"int main(void)\n{\n\tint sum = 1;\n" + calls.String() + "\tprintf(\"%d\\n\", sum);\n\treturn 0;\n}\n"
	files["project/Makefile"] = "$(OUT)/project:" + objects.String() + " $(OUT)/main.o\n\tgcc -o $@ $^\n" +
		"$(OUT)/%.o: %.c\n\tgcc -O1 -c -o $@ $<\n"
	for name, text := range files {
		path := b.path(name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// projectPart is a file of the C project: functions that call one another.
func projectPart(i int) string {
	var s strings.Builder
	s.WriteString("#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include <unistd.h>\n\n")
	for f := projectFunctions - 1; f >= 0; f-- {
		next := "x"
		if f < projectFunctions-1 {
			next = fmt.Sprintf("part%d_%d(x + %d)", i, f+1, f)
		}
		fmt.Fprintf(&s, "int part%d_%d(int x)\n{\n\tchar text[32];\n\tsnprintf(text, sizeof text, \"%%d\", x);\n"+
			"\tfor (int i = 0; i < (int)strlen(text); i++)\n\t\tx = x * 31 + text[i];\n\treturn %s;\n}\n\n", i, f, next)
	}
	return s.String()
}

func measureMake(b *run, e environment) (float64, error) {
	if err := installed("make"); err != nil {
		return 0, err
	}
	out := fmt.Sprintf("/tmp/bulkhead-bench-make-%d", os.Getpid())
	defer os.RemoveAll(out)
	return b.work(e, 0, "/bin/sh", "-c", "rm -rf "+out+" && mkdir "+out+" && make -s -j2 -C DIR/project OUT="+out)
}

func measureGoBuild(b *run, e environment) (float64, error) {
	goTool, err := exec.LookPath("go")
	if err != nil {
		return 0, notThere("go is not installed")
	}
	out := fmt.Sprintf("/tmp/bulkhead-bench-go-%d", os.Getpid())
	defer os.Remove(out)
	build := []string{"/usr/bin/env", "GOCACHE=DIR/gocache", "GOPATH=/tmp/go", "GOTOOLCHAIN=local", "GOFLAGS=-mod=mod", "GOTELEMETRY=off",
		"CGO_ENABLED=0", "/bin/sh", "-c", "rm -f " + out + " && cd DIR/go && " + goTool + " build -o " + out + " . && test -x " + out}
	if !b.goCacheWarm {
		if _, err := b.work(b.environments[0], 0, build...); err != nil {
			return 0, fmt.Errorf("warm the cache: %w", err)
		}
		b.goCacheWarm = true
	}
	return b.work(e, 1, build...)
}

// measureGitStatus has git(1) look at each file of a repository, whose index was
// written by the host.
func measureGitStatus(b *run, e environment) (float64, error) {
	if err := installed("git"); err != nil {
		return 0, err
	}
	if !b.gitThere {
		for i := range 1000 {
			path := b.path(fmt.Sprintf("git/d%d/f%d", i/20, i))
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				return 0, err
			}
			if err := os.WriteFile(path, fmt.Appendf(nil, "text %d\n", i), 0o644); err != nil {
				return 0, err
			}
		}
		if _, err := output([]string{"/bin/sh", "-c", "cd " + b.path("git") + " && git init -q && git add ."}); err != nil {
			return 0, fmt.Errorf("make a repository: %w", err)
		}
		b.gitThere = true
	}
	return b.work(e, 0, "/bin/sh", "-c", "cd DIR/git && git status >/dev/null")
}
