# The kernel's own selftests, of what a container may do: those that would set the
# clock, suspend the machine, or take its huge pages are left out. A part is a
# directory, or DIRECTORY/PROGRAM. test/suites/sources makes them.
# needs: /var/tmp/bulkhead-sources/kselftest/futex setpriv
# packages: util-linux
# format: words
# timeout: 20m
caps=-all,+chown,+dac_override,+fowner,+fsetid,+kill,+setgid,+setuid,+setpcap,+net_bind_service,+net_raw,+sys_chroot,+mknod,+audit_write,+setfcap,+sys_ptrace
parts="breakpoints cachestat capabilities clone3 core exec fchmodat2 filelock filesystems futex ipc kcmp lsm membarrier memfd mincore mm mount
	mount_setattr move_mount_set_group mqueue net nolibc nsfs openat2 pid_namespace pidfd prctl proc ptrace rlimits rseq sched seccomp
	sigaltstack splice syscall_user_dispatch timens timers tmpfs tty vDSO x86"
top=/var/tmp/bulkhead-sources/kselftest
verdicts() { # of TAP lines and nolibc's, without numbers that differ each time
	sed -n -E 's/^(not )?ok [0-9]+ *(- *)?(.*)$/\1\3/p; s/^[0-9]+ (\w+).*\[OK\]$/\1/p; s/^[0-9]+ (\w+).*\[FAIL\]$/not \1/p' "$1" |
		sed -E 's/execveat\([0-9]+/execveat(N/g; s/[0-9a-fx]{6,}|[0-9]+ *[nmu]s\b|pid [0-9]+/N/g' |
		sed -E "s|^not (.*)|FAIL $2: \1|; t; s|^(.*# *SKIP.*)|SKIP $2: \1|; t; s|^|PASS $2: |" | grep -v ': *$'
}
# run NAME PROGRAM SETPRIV'S ARGUMENTS -- ARGUMENTS
run() {
	local name=$1 program=$2 status who=()
	shift 2
	while [ "$1" != -- ]; do who+=("$1") && shift; done
	shift
	rm -rf t && mkdir t && cd t || exit
	cp -rL "${program%/*}/." . 2>/dev/null
	chmod -R a+rwX .
	timeout -k 2 20 setpriv "${who[@]}" "./${program##*/}" "$@" >../log 2>&1 </dev/null
	status=$?
	cd ..
	chmod -R u+w t
	verdicts log "$name"
	case $status in
	0) echo "PASS $name" ;;
	4) echo "SKIP $name" ;;
	*) echo "FAIL $name: status $status" ;;
	esac
	[ $status = 0 ] || sed 's/^/    /' log | tail -n 12
}
chmod a+x . 2>/dev/null
for part in ${PARTS:-$parts}; do
	find -L "$top/${part#user/}" -type f -executable ! -name '*.so' ! -name '*.sh' | sort | while read -r program; do
		name=${program#"$top/"}
		case $name in
		*/adjtick | */alarmtimer-suspend | */change_skew | */clocksource-switch | */freq-step | */leap* | */set-2038 | */set-t* | */valid-adjtimex | */rtcpie | \
			*/step_after* | */skew_consistency | */raw_skew | */compaction* | */huge* | */khugepaged | */write_to* | */virtual_address* | */*benchmark | */mq_perf* | \
			*/threadtest | */transhuge* | */split_huge* | */migration | */mrelease* | */fuse_test | */gup_* | */hmm-tests | */ksm_* | */droppable | */thuge-gen | \
			*/uffd-stress | */*-stress-test | */script | */regression_enomem | */mremap_test | */map_hugetlb)
			continue
			;;
		esac
		set --
		case $name in
		pidfd/pidfd_poll_test) set -- 500 ;;
		net/psock_snd) set -- -d ;;
		esac
		run "$name" "$program" --bounding-set=$caps --inh-caps=-all -- "$@"
		case $name in # these make a user namespace, if nobody in particular runs them
		core/unshare* | exec/* | filesystems/statmount/* | mount/* | mount_setattr/* | move_mount*/* | nsfs/* | pidfd/* | proc/proc-* | rlimits/* | seccomp/* | openat2/* | capabilities/* | net/af_unix/*)
			run "user/$name" "$program" --reuid=65534 --regid=65534 --clear-groups --bounding-set=$caps --inh-caps=-all -- "$@"
			;;
		esac
	done
done
