<?php
// What PHP asks of processes, files and sockets.
function pass($name, $ok) { echo ($ok ? 'PASS ' : 'FAIL ') . "$name\n"; }
function deep($n) { return $n ? deep($n - 1) + 1 : 0; }

for ($sum = 0, $i = 0; $i < 5000000; $i++)
	$sum += $i % 7;
pass('loop', $sum > 0);
pass('recursion', deep(20000) == 20000);
pass('exec', trim(shell_exec('echo hi')) == 'hi');
$p = proc_open('cat', [['pipe', 'r'], ['pipe', 'w']], $pipes);
fwrite($pipes[0], 'x');
fclose($pipes[0]);
pass('process', stream_get_contents($pipes[1]) == 'x');
proc_close($p);
$server = stream_socket_server('tcp://127.0.0.1:0');
$client = stream_socket_client('tcp://' . stream_socket_get_name($server, false));
$accepted = stream_socket_accept($server);
fwrite($client, "yo\n");
pass('sockets', fgets($accepted) == "yo\n");
$file = tempnam(sys_get_temp_dir(), 'x');
pass('files', file_put_contents($file, 'abc', LOCK_EX) == 3);
if (function_exists('pcntl_fork')) {
	$pid = pcntl_fork();
	if (!$pid)
		exit(5);
	pcntl_waitpid($pid, $status);
	pass('fork', pcntl_wexitstatus($status) == 5);
}
pass('random', strlen(random_bytes(10)) == 10);
pass('disk', disk_free_space('/') > 0);
pass('load', sys_getloadavg() !== false);
pass('sleep', time_nanosleep(0, 1000));
