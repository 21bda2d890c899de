# The kernel's own selftests, of what a container may do: those that would set the
# clock, suspend the machine, or take its huge pages are left out. A part is a
# directory, or DIRECTORY/PROGRAM. test/suites/sources makes them.
# needs: /var/tmp/bulkhead-sources/kselftest/futex setpriv
# packages: util-linux
# format: words
# timeout: 20m
caps=-all,+chown,+dac_override,+fowner,+fsetid,+kill,+setgid,+setuid,+setpcap,+net_bind_service,+net_raw,+sys_chroot,+mknod,+audit_write,+setfcap,+sys_ptrace
parts="breakpoints clone3 core exec filesystems futex ipc kcmp membarrier memfd mincore mqueue net openat2 pidfd
	proc ptrace rseq sched seccomp sigaltstack splice timers tmpfs vDSO vm x86"
top=/var/tmp/bulkhead-sources/kselftest
verdicts() { # of TAP lines, without numbers that differ each time
	sed -n -E 's/^(not )?ok [0-9]+ *(- *)?(.*)$/\1\3/p' "$1" | sed -E 's/[0-9a-fx]{6,}|[0-9]+ *[nmu]s\b|pid [0-9]+/N/g' |
		sed -E "s|^not (.*)|FAIL $2: \1|; t; s|^(.*# *SKIP.*)|SKIP $2: \1|; t; s|^|PASS $2: |" | grep -v ': *$'
}
for part in ${PARTS:-$parts}; do
	find -L "$top/$part" -type f -executable ! -name '*.so' ! -name '*.sh' | sort | while read -r program; do
		name=${program#"$top/"}
		case $name in
		*/adjtick | */alarmtimer-suspend | */change_skew | */clocksource-switch | */freq-step | */leap* | */set-2038 | */set-t* | */valid-adjtimex | */rtcpie | \
			*/step_after* | */skew_consistency | */raw_skew | */compaction* | */hugepage-vmemmap | */khugepaged | */write_to* | */virtual_address* | */*benchmark | */mq_perf* | \
			*/threadtest | */transhuge* | */split_huge* | */migration | */mrelease* | */fuse_test | */gup_test | */hmm-tests | */ksm_tests)
			continue
			;;
		esac
		set --
		case $name in
		vm/userfaultfd) set -- anon 4 4 ;;
		pidfd/pidfd_poll_test) set -- 500 ;;
		esac
		rm -rf t && mkdir t && cd t || exit
		cp -rL "${program%/*}/." . 2>/dev/null
		timeout -k 2 20 setpriv --bounding-set=$caps --inh-caps=-all "./${program##*/}" "$@" >../log 2>&1 </dev/null
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
	done
done
