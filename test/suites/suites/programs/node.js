// What Node asks of threads, processes, files and sockets.
const {Worker, isMainThread, parentPort, workerData} = require('worker_threads')
const cluster = require('cluster')
const cp = require('child_process')
const crypto = require('crypto')
const dgram = require('dgram')
const fs = require('fs')
const http = require('http')
const net = require('net')
const os = require('os')

const pass = (name, ok) => console.log((ok ? 'PASS ' : 'FAIL ') + name)
const event = (from, name) => new Promise(resolve => from.once(name, resolve))
const sum = k => { let s = 0; for (let i = 0; i < 3e7; i++) s = (s + i * k) | 0; return s }

async function threads() {
	const all = await Promise.all([1, 2, 3, 4].map(k => event(new Worker(__filename, {workerData: k}), 'message')))
	pass('workers', all[0] === sum(1) && all[3] === sum(4))
	const shared = new SharedArrayBuffer(8), words = new Int32Array(shared)
	await event(new Worker('const a = new Int32Array(require("worker_threads").workerData); Atomics.store(a, 0, 7); Atomics.notify(a, 0)', {eval: true, workerData: shared}), 'exit')
	pass('atomics', words[0] === 7)
	const add = new WebAssembly.Module(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0, 1, 7, 1, 96, 2, 127, 127, 1, 127, 3, 2, 1, 0, 7, 7, 1, 3, 97, 100, 100, 0, 0, 10, 9, 1, 7, 0, 32, 0, 32, 1, 106, 11]))
	pass('wasm', new WebAssembly.Instance(add).exports.add(2, 3) === 5)
}

async function processes() {
	pass('exec', cp.execSync('echo hi').toString() === 'hi\n')
	const child = cp.fork(__filename, ['child'])
	child.send({a: 1})
	pass('ipc', (await event(child, 'message')).a === 2)
	child.kill('SIGTERM')
	await event(child, 'exit')
	pass('kill', child.signalCode === 'SIGTERM')
	const heard = event(process, 'SIGUSR2')
	process.kill(process.pid, 'SIGUSR2')
	await heard
	pass('signal', true)
	pass('usage', process.hrtime.bigint() > 0n && process.resourceUsage().maxRSS > 0)
	pass('resident size', process.memoryUsage().rss > 0)
}

async function files() {
	const dir = fs.mkdtempSync(os.tmpdir() + '/n'), watch = fs.watch(dir)
	const changed = new Promise(resolve => watch.on('change', (_, file) => resolve(file)))
	fs.writeFileSync(dir + '/f', 'x')
	pass('watch', await changed === 'f')
	watch.close()
	await Promise.all([...Array(200).keys()].map(i => fs.promises.writeFile(dir + '/' + i, crypto.randomBytes(1000))))
	pass('files', fs.readdirSync(dir).length === 201)
	fs.rmSync(dir, {recursive: true})
	pass('machine', os.cpus().length > 0 && os.totalmem() > 0 && os.networkInterfaces().lo.length > 0)
}

async function sockets() {
	const server = http.createServer((request, answer) => {
		let n = 0
		request.on('data', d => n += d.length)
		request.on('end', () => answer.end('got ' + n))
	}).listen(0)
	await event(server, 'listening')
	const got = await Promise.all([...Array(100).keys()].map(i => fetch('http://localhost:' + server.address().port, {method: 'POST', body: 'x'.repeat(i * 1000)}).then(r => r.text())))
	pass('http', got.every((t, i) => t === 'got ' + i * 1000))
	server.close()
	const udp = dgram.createSocket('udp4')
	await new Promise(resolve => udp.bind(0, '127.0.0.1', resolve))
	const datagram = event(udp, 'message')
	udp.send('x', udp.address().port, '127.0.0.1')
	pass('udp', (await datagram).toString() === 'x')
	udp.close()
	const unix = net.createServer(c => c.pipe(c)).listen(os.tmpdir() + '/n.sock')
	await event(unix, 'listening')
	const c = net.connect(os.tmpdir() + '/n.sock')
	c.write('hey')
	pass('unix', (await event(c, 'data')).toString() === 'hey')
	c.destroy()
	unix.close()
	pass('cluster', cp.execFileSync(process.execPath, [__filename, 'cluster'], {timeout: 30000}).toString() === 'ok ok ok ok')
}

function inCluster() {
	if (!cluster.isPrimary)
		return http.createServer((_, answer) => answer.end('ok')).listen(18080)
	let ready = 0
	cluster.on('listening', async () => {
		if (++ready < 2)
			return
		const all = []
		for (let i = 0; i < 4; i++)
			all.push(await (await fetch('http://localhost:18080/')).text())
		process.stdout.write(all.join(' '), () => process.exit())
	})
	cluster.fork()
	cluster.fork()
}

if (!isMainThread)
	parentPort.postMessage(sum(workerData))
else if (process.argv[2] === 'child')
	process.on('message', m => process.send({a: m.a + 1}))
else if (process.argv[2] === 'cluster' || cluster.isWorker)
	inCluster()
else
	(async () => { await threads(); await processes(); await files(); await sockets() })()
