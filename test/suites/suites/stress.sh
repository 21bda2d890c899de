# stress-ng: each stressor for a second, as root without the capabilities that would
# reach the host. Left out are those that would change the machine, keep its
# processors for themselves or fill its memory.
# needs: stress-ng setpriv
# packages: stress-ng util-linux
# format: words
# timeout: 40m
caps=-all,+chown,+dac_override,+fowner,+fsetid,+kill,+setgid,+setuid,+setpcap,+net_bind_service,+net_raw,+sys_chroot,+mknod,+audit_write,+setfcap
for s in ${PARTS:-$(stress-ng --stressors)}; do
	case $s in
	cpu-online | memhotplug | smi | watchdog | softlockup | cyclic | forkheavy | reboot | bind-mount | umount | rtc | ioport | physpage | idle-page | bigheap | brk)
		continue
		;;
	esac
	rm -rf t && mkdir t
	timeout -k 3 25 setpriv --bounding-set=$caps --inh-caps=-all stress-ng --$s 1 --timeout 1 --verify --oomable --vm-bytes 64M --temp-path t >log 2>&1
	status=$?
	if [ $status != 0 ]; then
		echo "FAIL $s"
		sed "s/^/    $status: /" log | head -n 8
	elif grep -q skipp log; then
		echo "SKIP $s"
		sed 's/^/    /' log | head -n 4
	else
		echo "PASS $s"
	fi
done
