# What Ruby asks of processes, threads, terminals and sockets.
require 'open3'
require 'pty'
require 'socket'
require 'tempfile'
require 'timeout'

def pass(name, ok) = puts("#{ok ? 'PASS' : 'FAIL'} #{name}")
def deep(n) = deep(n + 1)

pid = fork { exit 3 }
Process.wait pid
pass 'fork', $?.exitstatus == 3
pass 'threads', 20.times.map { Thread.new { 1000.times.sum } }.map(&:value).uniq == [499500]
server = TCPServer.new('127.0.0.1', 0)
Thread.new { c = server.accept; c.puts c.gets.upcase; c.close }
client = TCPSocket.new('127.0.0.1', server.addr[1])
client.puts 'abc'
pass 'tcp', client.gets == "ABC\n"
pass 'open3', Open3.capture2('tr a-z A-Z', stdin_data: 'hi')[0] == 'HI'
heard = false
trap('USR1') { heard = true }
Process.kill('USR1', $$)
sleep 0.1
pass 'signal', heard
pass 'timeout', (begin; Timeout.timeout(0.1) { sleep 5 }; false; rescue Timeout::Error; true; end)
said = +''
PTY.spawn('tty') { |r, _w, _pid| (said << r.read) rescue nil }
pass 'terminal', said.start_with?('/dev/pts/')
pass 'stack', (begin; deep(0); rescue SystemStackError; true; end)
200000.times.map { |i| "x#{i}" }
GC.start
pass 'collection', true
Process.wait spawn('exit 4', chdir: '/', pgroup: true, umask: 077, rlimit_nofile: [100, 100])
pass 'spawn', $?.exitstatus == 4
file = Tempfile.new
pass 'lock', file.flock(File::LOCK_EX | File::LOCK_NB) == 0
pass 'clock', Process.clock_gettime(Process::CLOCK_PROCESS_CPUTIME_ID) > 0
a, b = UNIXSocket.pair
a.send_io(STDOUT)
pass 'passed descriptor', b.recv_io.is_a?(IO)
r, = IO.pipe
pass 'nonblocking', r.read_nonblock(1, exception: false) == :wait_readable
pass 'copy', IO.copy_stream(File.open('/etc/passwd'), file) > 0
