# CPython's own tests of sockets, event loops and protocols.
# needs: /usr/bin/python3 /usr/lib/python3.*/test/test_os.py
# packages: python3 libpython3.11-testsuite
# format: python
# timeout: 20m
parts="test_select test_selectors test_poll test_epoll test_socket test_socketserver test_ssl test_ftplib test_httplib
	test_httpservers test_smtplib test_smtpd test_asyncore test_asynchat test_poplib test_imaplib test_nntplib test_telnetlib test_urllib2_localnet test_xmlrpc test_docxmlrpc
	test_asyncio test_wsgiref"
set -f
for m in ${PARTS:-$parts}; do # a part may be MODULE:TESTS, of which unittest's patterns
	only=
	case $m in *:*) only="-m ${m#*:}" ;; esac
	# A machine with /dev/vsock and nobody at the other end waits for ever.
	timeout -k 5 300 /usr/bin/python3 -m test -v $only -i 'test.test_socket.ThreadedVSOCK*' ${m%%:*} </dev/null || echo "$m: status $?"
done
