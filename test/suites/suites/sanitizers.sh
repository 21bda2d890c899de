# GCC's sanitizers: what each says of each mistake, and how the program ends. A test's
# name holds both, so that another report or status is a test that did not pass.
# needs: gcc /usr/lib/gcc/*/*/libtsan.*
# packages: gcc libc6-dev
# format: words
# timeout: 6m
for kind in address leak undefined thread none; do
	option=-fsanitize=$kind
	[ $kind = none ] && option=
	gcc -g -O1 -w -pthread $option -o sanitized "$SUITES/programs/sanitized.c" || continue
	for mistake in h d s n w l r o k a; do
		timeout 30 ./sanitized $mistake >out 2>&1
		status=$?
		said=$(grep -o -E 'SUMMARY: [A-Za-z]+: [a-z0-9 -]+|runtime error: [a-z ]+' out | head -1)
		echo "PASS $kind $mistake: status $status ${said:-nothing said}"
	done
done
