# Language run-times and their styles of signals, threads and compilation.
# needs: java javac node ruby luajit php perl
# packages: default-jdk-headless nodejs ruby luajit php-cli perl
# format: words
# timeout: 10m
p=$SUITES/programs
# A run-time's tests carry its name.
under() { timeout -k 5 150 "${@:2}" 2>&1 | sed "s/^\(PASS\|FAIL\) /\1 $1 /"; }
javac -d . "$p/Jit.java"
for gc in "" -Xint -XX:+UseZGC "-XX:+UseSerialGC -Xcomp" "-XX:+UseParallelGC -XX:-TieredCompilation"; do
	under "java $gc" java -Xmx256m $gc -cp . Jit
done
under node node "$p/node.js"
under ruby ruby "$p/ruby.rb"
under php php "$p/php.php"
under luajit luajit "$p/luajit.lua"
under perl perl -e 'use threads; use POSIX;
	sub ok { print(($_[1] ? "PASS " : "FAIL ") . "$_[0]\n") }
	ok("threads", join(" ", map { $_->join } map { my $n = $_; threads->create(sub { $n * $n }) } 1 .. 5) eq "1 4 9 16 25");
	my $got; $SIG{ALRM} = sub { $got = 1 }; alarm 1; sleep 3; ok("alarm", $got);
	my $pid = fork // die; exit 7 unless $pid; waitpid $pid, 0; ok("fork", $? >> 8 == 7);
	ok("pipe", `echo hi` eq "hi\n"); eval { local $SIG{SEGV} = sub { die "caught\n" }; kill SEGV => $$; }; ok("signal", $@ eq "caught\n");'
