# needs: perl
perl -e 'print "perl\n"; exit 4'; echo $?
perl - <<'E'
use strict; use POSIX ":sys_wait_h"; use Socket; use File::Temp "tempdir"; use Time::HiRes "sleep";
my $d = tempdir(CLEANUP => 1);
open(my $f, ">", "$d/x") or die; print $f "line $_\n" for 1..1000; close $f;
open($f, "<", "$d/x") or die; my $n = () = <$f>; print "$n lines\n";
my @out = map { chomp; $_ } `seq 1 5 | sort -r`; print "@out\n";
my $pid = fork // die; if (!$pid) { exit 6 } waitpid($pid, 0); print $? >> 8, "\n";
local $SIG{ALRM} = sub { print "alarm\n" }; alarm 1; select(undef, undef, undef, 3);
socketpair(my $a, my $b, AF_UNIX, SOCK_STREAM, 0) or die; syswrite $a, "pair\n"; print scalar <$b>;
system("kill -9 \$\$"); print $? & 127, "\n";
print join(",", sort map { /(\w+)$/ } glob("/usr/share/common-licenses/B*")), "\n";
my %h; $h{$_ % 7}++ for 1..100000; print join(" ", map { "$_=$h{$_}" } sort keys %h), "\n";
E
