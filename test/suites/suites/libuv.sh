# libuv's own tests: processes, signals, threads, files and sockets.
# test/suites/sources makes them. A part is one test.
# needs: /var/tmp/bulkhead-sources/libuv/build/uv_run_tests_a
# packages: dpkg-dev gcc make cmake
# format: words
# timeout: 10m
export UV_RUN_AS_ROOT=1
top=/var/tmp/bulkhead-sources/libuv
cp -r $top/test .
verdicts() { sed -n -E 's/^ok [0-9]+ - (\S+) # SKIP.*/SKIP \1/p; t; s/^ok [0-9]+ - (.*)/PASS \1/p; s/^not ok [0-9]+ - (.*)/FAIL \1/p'; }
if [ -z "$PARTS" ]; then
	$top/build/uv_run_tests_a </dev/null 2>&1 | verdicts
fi
for test in $PARTS; do
	$top/build/uv_run_tests_a "$test" </dev/null 2>&1 | verdicts
done
