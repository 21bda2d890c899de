# The GNU C library's own tests of processes, threads, signals, timers and files, made
# against the library that is installed; four at a time, as many sleep. A part is a
# directory's tests. test/suites/sources makes them.
# needs: /var/tmp/bulkhead-sources/glibc/posix-tst-waitid
# packages: dpkg-dev gcc
# format: words
# timeout: 30m
parts="posix nptl signal io rt misc time socket stdlib sysdeps_pthread sysdeps_unix_sysv_linux setjmp resource termios dirent"
one() {
	name=${1##*/}
	case $name in
	*.no | *tst-settime* | *clock_settime* | *tst-clock_adj* | *adjtime* | *ntp_* | *-stime* | *settimeofday*) exit ;; # without a program, or of the machine's clock
	esac
	mkdir "t-$name" && cd "t-$name" || exit
	TIMEOUTFACTOR=1 timeout -k 2 20 "$1" >../"log-$name" 2>&1 </dev/null
	case $? in
	0) echo "PASS $name" ;;
	77) echo "SKIP $name" ;;
	*) echo "FAIL $name" && sed 's/^/    /' "../log-$name" | tail -n 6 ;;
	esac
}
export -f one
for part in ${PARTS:-$parts}; do
	ls -d /var/tmp/bulkhead-sources/glibc/"$part"-*
done 2>/dev/null | xargs -P4 -I{} bash -c 'one {}'
