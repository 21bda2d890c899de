# needs: busybox
# shell: /bin/busybox sh
# A static shell: pipes, redirection, background jobs, wait, traps, here-documents.
export PATH=/nonexistent
for c in cat sort wc tr head seq mkdir rm ls sleep grep expr kill; do
	eval "$c() { /bin/busybox $c \"\$@\"; }"
done
d=/tmp/busybox-case
rm -rf $d && mkdir $d && cd $d || exit 1
seq 1 1000 | tr 0-9 a-j | sort -r | head -n 3
echo one >out; echo two >>out; cat <out
cat <<END | wc -l
three
lines
here
END
{ sleep 0.1; echo slow; exit 3; } & p=$!
echo fast
wait $p; echo "status $?"
( exit 7 ); echo "sub $?"
for i in 1 2 3 4 5; do ( echo job $i >job$i ) & done; wait
cat job*
echo err >&2 2>err.txt; cat err.txt
x=$(seq 1 10 | while read n; do expr $n \* $n; done); echo $x
trap 'echo trapped' USR1
kill -USR1 $$
echo after
trap 'echo bye' EXIT
cat nofile 2>/dev/null || echo "no file: $?"
ls | sort
yes_count=$(/bin/busybox yes | head -n 20000 | wc -l); echo $yes_count
cd / && rm -r $d
