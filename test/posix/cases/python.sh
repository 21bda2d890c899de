# needs: python3
# Debian's own Python, not one of the user's.
p=/usr/bin/python3
$p -c 'pass'; echo $?
$p -c 'import sys; print(sys.version_info[0]); sys.exit(5)'; echo $?
$p - <<'E'
import subprocess, threading, sqlite3, os, tempfile, multiprocessing, signal, time, select, mmap, hashlib, json, socket, asyncio, queue
print(subprocess.run(["echo", "hello"], capture_output=True, text=True).stdout.strip())
print(subprocess.run("exit 3", shell=True).returncode)
p = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
print(len(p.communicate(b"x" * 1000000)[0]), p.returncode)
try:
    subprocess.run(["sleep", "10"], timeout=0.1)
except subprocess.TimeoutExpired:
    print("timeout")
try:
    subprocess.run(["/nowhere"])
except FileNotFoundError as e:
    print(e.errno)

total, lock = 0, threading.Lock()
def add():
    global total
    for _ in range(1000):
        with lock:
            total += 1
ts = [threading.Thread(target=add) for _ in range(10)]
[t.start() for t in ts]; [t.join() for t in ts]
print("threads", total)
q = queue.Queue()
threading.Timer(0.05, lambda: q.put("timer")).start()
print(q.get(timeout=5))

d = tempfile.mkdtemp()
db = sqlite3.connect(d + "/t.db")
db.execute("pragma journal_mode=wal")
db.execute("create table t (a integer primary key, b text)")
with db:
    db.executemany("insert into t (b) values (?)", [(str(i),) for i in range(5000)])
print(db.execute("select count(*), sum(a), max(b) from t").fetchone())
db2 = sqlite3.connect(d + "/t.db", timeout=0.1)
db.execute("begin immediate")
try:
    db2.execute("begin immediate")
except sqlite3.OperationalError as e:
    print(e)
db.rollback(); db2.execute("delete from t where a > 10"); db2.commit()
print(db.execute("select count(*) from t").fetchone(), db.execute("pragma integrity_check").fetchone())
db.close(); db2.close()
print(sorted(os.listdir(d)))

def work(n):
    return n * n
with multiprocessing.get_context("fork").Pool(3) as pool:
    print(pool.map(work, range(10)))

got = []
signal.signal(signal.SIGALRM, lambda s, f: got.append(s))
signal.setitimer(signal.ITIMER_REAL, 0.05)
time.sleep(0.2)
print("signals", got)
r, w = os.pipe()
pid = os.fork()
if pid == 0:
    os.write(w, b"from the child")
    os._exit(9)
print(os.read(r, 100), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
with open(d + "/m", "w+b") as f:
    f.truncate(10000)
    m = mmap.mmap(f.fileno(), 0)
    m[5000:5005] = b"hello"
    m.flush()
    f.seek(5000)
    print(f.read(5))
print(hashlib.sha256(open("/usr/bin/python3", "rb").read()).hexdigest())

async def main():
    async def client(port):
        r, w = await asyncio.open_connection("127.0.0.1", port)
        w.write(b"ping\n")
        line = await r.readline()
        w.close()
        return line
    async def serve(r, w):
        w.write((await r.readline()).upper())
        await w.drain()
        w.close()
    s = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = s.sockets[0].getsockname()[1]
    print(await asyncio.gather(*(client(port) for _ in range(10))))
    proc = await asyncio.create_subprocess_exec("cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    print((await proc.communicate(b"async"))[0])
asyncio.run(main())
import shutil; shutil.rmtree(d)
E
echo $?
