# ls, find, grep and the classic filters on real trees. Sizes of directories and
# the blocks of files belong to the file system, so ls's totals are left out.
cd /usr/share
ls -lR doc | grep -v '^total\|^d' | cksum
ls -R . | cksum
ls -la /etc | grep -v '^total\|^d' | awk '{print $1, $3, $4, $9}' | grep -v 'mtab\|resolv\|hosts\|hostname' | cksum
find . -type f -name '*.gz' | sort | cksum
find . -type l | wc -l
find /usr/bin -perm -4000 | sort
find doc -maxdepth 2 -newer /etc/debian_version -type f | sort | cksum
find doc -type f -size +50k -printf '%p %s %m %u\n' | sort | cksum
grep -rl GPL doc 2>/dev/null | sort | cksum
grep -rc . common-licenses | sort | cksum
d=$(mktemp -d); cd "$d" || exit
sed -n '1,20s/:.*//p' /etc/passwd
awk -F: '{n[$7]++} END {for (s in n) print s, n[s]}' /etc/passwd | sort
sort -t: -k3 -n /etc/passwd | head -n 3
tar -C /usr/share -cf t.tar common-licenses && tar -tf t.tar | sort
mkdir x && tar -C x -xpf t.tar && diff -r /usr/share/common-licenses x/common-licenses && echo same
gzip -k t.tar && gzip -dc t.tar.gz | cmp - t.tar && echo gzip
tar -czf t.tgz x && tar -xzOf t.tgz x/common-licenses/BSD | cksum
cp -a x y && diff -r x y && mv y z && ls
ln -s x l && readlink -f l/common-licenses/BSD | sed "s,$d,D,"
dd if=/dev/zero of=zeros bs=1M count=20 2>/dev/null; cksum zeros
head -c 100000 /dev/urandom | wc -c
split -n 4 zeros part. && cat part.* | cmp - zeros && ls part.*
touch -d '2001-02-03 04:05:06' old && stat -c '%Y %s %a %U %F' old
chmod 640 old && stat -c %a old && chown 12:34 old && stat -c '%u %g' old
du -s --apparent-size -b zeros | cut -f1
seq 1 200000 | sort -R | sort -n | cksum
seq 1 100000 | tac | sort -n | uniq | wc -l
xargs -n 2 -P 4 echo <<E | sort
a b c d e f
E
comm -12 /etc/passwd /etc/passwd | wc -l | tr -d ' '
tee copy <old | wc -c; install -m 755 old bin && ls -l bin | cut -c1-10
truncate -s 5G sparse && stat -c %s sparse; rm sparse
env -i A=b env; nice -n 5 nice; id -u; tty </dev/null
expr 3 \* 4; date -d @0 +%F; basename /a/b.c .c; printf '%05.1f\n' 3.14159
rmdir x 2>/dev/null || echo 'not empty'
rm -rf ./* && ls -A
cd / && rmdir "$d"
