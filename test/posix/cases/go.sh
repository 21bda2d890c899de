# needs: go
# The Go toolchain, in the sandbox: it compiles, links and runs a program. The library's
# packages that it copies into its module are compiled anew in both places; the others
# come out of the host's cache, unless BULKHEAD_TEST_FULL is set.
d=$(mktemp -d); cd "$d" || exit
export GOFLAGS=-mod=mod GOTOOLCHAIN=local GOPROXY=off CGO_ENABLED=0 PATH=/usr/local/go/bin:$PATH
[ -z "$BULKHEAD_TEST_FULL" ] || export GOCACHE=$d/cache
cat >go.mod <<'E'
module hello
go 1.24
E
for p in container/heap encoding/csv text/tabwriter regexp/syntax text/scanner; do
	mkdir -p "${p%/*}" && cp -r "$(go env GOROOT)/src/$p" "$p" && rm -rf "$p"/*_test.go "$p/testdata"
done
cat >main.go <<'E'
package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	_ "hello/container/heap"
	"hello/encoding/csv"
	"hello/regexp/syntax"
	_ "hello/text/scanner"
	"hello/text/tabwriter"
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
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 1, ' ', 0)
	rows, err := csv.NewReader(strings.NewReader("a,\"b c\",d\nlong one,e,f\n")).ReadAll()
	for _, r := range rows {
		fmt.Fprintln(w, strings.Join(r, "\t"))
	}
	w.Flush()
	re, _ := syntax.Parse("(a|b)*c{2,3}", syntax.Perl)
	fmt.Println(err, re.Simplify())
	os.Exit(3)
}
E
go version | cut -d' ' -f1,2,4
go build -o hello . ; echo "build $?"
./hello; echo $?
cd / && rm -rf "$d"
