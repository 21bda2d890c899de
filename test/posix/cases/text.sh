# Programs that map libraries, read locales and use odd calls.
echo 'print 2^100' | (command -v bc >/dev/null && bc -l 2>/dev/null | head -c 0; true)
printf 'b\na\nc\n' | sort -o /tmp/sorted-$$ && cat /tmp/sorted-$$; rm /tmp/sorted-$$
getent passwd root nobody
ldd /bin/ls | sed 's/(0x.*//; s/=>.*//' | tr -d ' \t' | sort
uname -sm
cat /proc/self/comm /proc/filesystems | head -n 1
cat /proc/version | cut -d' ' -f1
df -P / >/dev/null; echo "df $?"
mount >/dev/null 2>&1; echo "mount $?"
test -t 0; echo "tty $?"
od -c /etc/debian_version | head -n 1
strings -n 8 /bin/true 2>/dev/null | head -n 1 | wc -l
file=/etc/os-release; . $file; echo "$ID"
date -u -d '2000-01-01' +%s; TZ=Europe/Rome date -d @1000000000
numfmt --to=iec 1234567; factor 1234567890; seq -s+ 1 10; sha1sum /etc/debian_version | cut -d' ' -f1
stdbuf -o0 echo unbuffered; timeout 1 true; echo $?
nproc >/dev/null; echo $?; hostname >/dev/null; echo $?; id; whoami; groups
