# CPython's own tests of processes, signals, threads and files.
# needs: /usr/bin/python3 /usr/lib/python3.*/test/test_os.py
# packages: python3 libpython3.11-testsuite
# format: python
# timeout: 20m
parts="test_signal test_os test_posix test_subprocess test_threading test_thread test_mmap test_fcntl
	test_pty test_resource test_faulthandler test_io test_fileio test_file test_shutil test_pathlib test_tempfile
	test_time test_fork1 test_wait3 test_wait4 test_pipes test_popen test_glob test_stat test_posixpath test_genericpath test_dbm_dumb
	test_zipfile test_tarfile test_sqlite3 test_openpty test_tty test_ioctl test_pwd test_grp test_getpass test_largefile test_mailbox
	test_threadsignals test_threading_local test_queue test_sched test_platform test_cmd_line test_script_helper test_ctypes test_eintr test_venv test_gc test_locale test_logging test_crypt"
set -f
for m in ${PARTS:-$parts}; do # a part may be MODULE:TESTS, of which unittest's patterns
	only=
	case $m in *:*) only="-m ${m#*:}" ;; esac
	timeout -k 5 180 /usr/bin/python3 -m test -v $only ${m%%:*} </dev/null || echo "$m: status $?"
done
