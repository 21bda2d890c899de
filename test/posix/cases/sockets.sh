# needs: ss python3
# What ss, /proc/net and interface ioctls show of sockets that the case itself makes.
/usr/bin/python3 - <<'END'
import fcntl, os, socket, struct, subprocess

def show(ino, *command):
    out = subprocess.run(command, capture_output=True, text=True).stdout
    for line in out.splitlines():
        words = line.split()
        if 'ino:%d' % ino in words or str(ino) in words:
            return words
    return 'absent'

def ino(s):
    return os.fstat(s.fileno()).st_ino

def table(name, s):
    for line in open('/proc/net/' + name):
        words = line.split()
        if len(words) > 9 and words[9] == str(ino(s)):
            return [w.split(':')[0] for w in words[1:3]] + words[3:5]
    return 'absent'

listener = socket.socket()
listener.bind(('127.0.0.1', 0))
print('bound', table('tcp', listener))
listener.listen(5)
print('listening', table('tcp', listener), show(ino(listener), 'ss', '-Htlne')[:2])
client = socket.create_connection(listener.getsockname())
server, _ = listener.accept()
print('client', table('tcp', client), show(ino(client), 'ss', '-Htne')[:3])
client.close()
server.recv(1)
print('left', show(ino(server), 'ss', '-Htne')[:3])
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(('127.0.0.1', 0))
print('datagrams', table('udp', udp), show(ino(udp), 'ss', '-Huane')[:3])
name = '\0bulkhead-case-%d' % os.getpid()
local = socket.socket(socket.AF_UNIX)
local.bind(name)
local.listen(3)
print('local', show(ino(local), 'ss', '-Hxl')[:2])
a, b = socket.socketpair()
print('pair', show(ino(a), 'ss', '-Hx')[:2])
for family in socket.AF_UNIX, socket.AF_INET:
    s = socket.socket(family, socket.SOCK_DGRAM)
    print(family, struct.unpack_from('i', fcntl.ioctl(s, 0x8933, struct.pack('16s24x', b'lo')), 16)[0])
    try:
        fcntl.ioctl(s, 0x8913, struct.pack('16s24x', b'nonesuch'))
    except OSError as e:
        print(e)
END
