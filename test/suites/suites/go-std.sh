# Go's own tests of what touches the system. They are compiled once, into the usual
# cache, and run from the standard library's directory.
# needs: go gcc
# packages: golang gcc
# format: go
# timeout: 30m
export GOCACHE=/root/.cache/go-build GOFLAGS=-mod=mod GOPROXY=off GOTOOLCHAIN=local
cd "$(go env GOROOT)/src" || exit
parts="os os/exec os/signal os/user syscall net net/http internal/poll internal/syscall/unix io/fs path/filepath
	sync time context log/syslog crypto/tls runtime/pprof runtime/debug runtime"
for p in ${PARTS:-$parts}; do
	timeout -k 5 400 go test -count=1 -short -v $p </dev/null
done
