# Redis' own tests, with Debian's server: of its network, its persistence, which
# forks, and its replication. A part is a unit. test/suites/sources gets them.
# needs: /var/tmp/bulkhead-sources/redis/runtest redis-server redis-cli tclsh
# packages: redis-server redis-tools tcl
# format: words
# timeout: 20m
parts="unit/auth unit/introspection unit/info unit/limits unit/multi unit/networking unit/obuf-limits unit/other unit/protocol unit/pubsub unit/querybuf
	unit/shutdown unit/tracking unit/expire unit/type/list unit/type/stream unit/oom-score-adj unit/dump unit/scripting
	integration/aof integration/rdb integration/logging integration/redis-cli integration/redis-benchmark integration/replication integration/shutdown"
cp -r /var/tmp/bulkhead-sources/redis redis && cd redis || exit
for p in ${PARTS:-$parts}; do
	timeout -k 5 200 tclsh tests/test_helper.tcl --single "$p" --clients 1 --durable </dev/null 2>&1 |
		sed -n -E "s|\x1b\[[0-9;]*m||g; s|^\[ok\]: (.*) \([0-9]+ ms\)$|PASS $p: \1|p; s|^\[err\]: (.*) in tests/.*|FAIL $p: \1|p; s|^\[exception\]: (.*)|FAIL $p: \1|p"
done
