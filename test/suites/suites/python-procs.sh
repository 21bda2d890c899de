# CPython's own tests of multiprocessing and of executors.
# needs: /usr/bin/python3 /usr/lib/python3.*/test/test_os.py
# packages: python3 libpython3.11-testsuite
# format: python
# timeout: 30m
parts="test_multiprocessing_fork test_multiprocessing_spawn test_multiprocessing_forkserver test_multiprocessing_main_handling test_concurrent_futures"
set -f
for m in ${PARTS:-$parts}; do # a part may be MODULE:TESTS, of which unittest's patterns
	only=
	case $m in *:*) only="-m ${m#*:}" ;; esac
	timeout -k 5 400 /usr/bin/python3 -m test -v $only ${m%%:*} </dev/null || echo "$m: status $?"
done
