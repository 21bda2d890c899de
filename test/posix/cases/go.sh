# needs: go
# The Go toolchain, in the sandbox: it compiles, links and runs a program.
d=$(mktemp -d); cd "$d" || exit
export HOME=$d GOFLAGS=-mod=mod GOTOOLCHAIN=local GOPROXY=off CGO_ENABLED=0 PATH=/usr/local/go/bin:$PATH
cat >go.mod <<'E'
module hello
go 1.24
E
cat >main.go <<'E'
package main

import (
	"fmt"
	"os"
	"time"
)

func main() {
	c := make(chan int)
	for i := range 100 {
		go func() { time.Sleep(time.Millisecond); c <- i }()
	}
	sum := 0
	for range 100 {
		sum += <-c
	}
	fmt.Println("sum", sum)
	os.Exit(3)
}
E
go version | cut -d' ' -f1,2,4
go build -o hello . ; echo "build $?"
./hello; echo $?
cd / && rm -rf "$d"
