import java.io.*;
import java.net.*;
import java.net.http.*;
import java.nio.*;
import java.nio.channels.*;
import java.nio.file.*;
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.*;

/** What a virtual machine asks of signals, memory, threads and sockets. */
public class Jit {
	int x;
	static int depth;

	static void pass(String name, boolean ok) { System.out.println((ok ? "PASS " : "FAIL ") + name); }

	/** A null pointer is a SIGSEGV in compiled code. */
	static int load(Jit j) {
		try {
			return j.x;
		} catch (NullPointerException e) {
			return -1;
		}
	}

	static void recurse() { depth++; recurse(); }

	static void signals() throws Exception {
		Jit three = new Jit();
		three.x = 3;
		int sum = 0;
		for (int i = 0; i < 200000; i++)
			sum += load(i % 1000 == 0 ? null : three);
		pass("null pointers", sum == -200 + 3 * (200000 - 200));
		try {
			recurse();
		} catch (StackOverflowError e) {
			pass("stack overflow", depth > 100);
		}
		Thread t = new Thread(null, () -> {
			try {
				recurse();
			} catch (StackOverflowError e) {
				pass("stack overflow in a thread", true);
			}
		}, "deep", 1 << 20);
		t.start();
		t.join();
		int zero = 0;
		try {
			System.out.println(5 / zero);
		} catch (ArithmeticException e) {
			pass("division by zero", true);
		}
		Thread sleeper = new Thread(() -> {
			try {
				Thread.sleep(100000);
			} catch (InterruptedException e) {
				pass("interrupt", true);
			}
		});
		sleeper.start();
		Thread.sleep(50);
		sleeper.interrupt();
		sleeper.join();
	}

	static void memory() throws Exception {
		ExecutorService pool = Executors.newFixedThreadPool(8);
		AtomicLong sum = new AtomicLong();
		List<Future<?>> all = new ArrayList<>();
		for (int k = 0; k < 64; k++)
			all.add(pool.submit(() -> {
				List<byte[]> garbage = new ArrayList<>();
				for (int i = 0; i < 3000; i++) {
					garbage.add(new byte[1024 * (i % 7)]);
					if (garbage.size() > 100)
						garbage.clear();
					sum.addAndGet(i);
				}
			}));
		for (Future<?> f : all)
			f.get();
		pool.shutdown();
		pass("threads through collections", sum.get() == 64L * 2999 * 3000 / 2);
		for (int i = 0; i < 5; i++)
			System.gc();
		pass("collections", true);
		Path p = Files.createTempFile("jit", ".bin");
		try (FileChannel c = FileChannel.open(p, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
			MappedByteBuffer m = c.map(FileChannel.MapMode.READ_WRITE, 0, 1 << 20);
			m.putInt(77, 12345);
			m.force();
			ByteBuffer b = ByteBuffer.allocate(4);
			c.read(b, 77);
			pass("mapped file", b.flip().getInt() == 12345);
			pass("file lock", c.tryLock() != null);
		}
	}

	static void sockets() throws Exception {
		ServerSocket server = new ServerSocket(0);
		new Thread(() -> {
			try {
				for (int i = 0; i < 50; i++)
					try (Socket c = server.accept()) {
						c.getOutputStream().write(c.getInputStream().read() + 1);
					}
			} catch (IOException e) {
				e.printStackTrace();
			}
		}).start();
		boolean good = true;
		for (int i = 0; i < 50; i++)
			try (Socket c = new Socket("localhost", server.getLocalPort())) {
				c.getOutputStream().write(i);
				good &= c.getInputStream().read() == i + 1;
			}
		pass("sockets", good);
		AsynchronousServerSocketChannel async = AsynchronousServerSocketChannel.open().bind(new InetSocketAddress("127.0.0.1", 0));
		Future<AsynchronousSocketChannel> accepted = async.accept();
		SocketChannel c = SocketChannel.open(async.getLocalAddress());
		accepted.get().write(ByteBuffer.wrap("x".getBytes())).get();
		pass("asynchronous channels", c.read(ByteBuffer.allocate(9)) == 1);
		pass("interfaces", NetworkInterface.getNetworkInterfaces().hasMoreElements());
		var http = com.sun.net.httpserver.HttpServer.create(new InetSocketAddress("127.0.0.1", 0), 0);
		http.createContext("/", e -> {
			e.sendResponseHeaders(200, 2);
			e.getResponseBody().write("ok".getBytes());
			e.close();
		});
		http.start();
		URI uri = URI.create("http://127.0.0.1:" + http.getAddress().getPort() + "/");
		var answer = HttpClient.newHttpClient().send(HttpRequest.newBuilder(uri).build(), HttpResponse.BodyHandlers.ofString());
		pass("http", answer.body().equals("ok"));
		http.stop(0);
	}

	static void system() throws Exception {
		Process p = new ProcessBuilder("sh", "-c", "echo hi; exit 3").start();
		String line = new BufferedReader(new InputStreamReader(p.getInputStream())).readLine();
		pass("process", line.equals("hi") && p.waitFor() == 3);
		WatchService watch = FileSystems.getDefault().newWatchService();
		Path dir = Files.createTempDirectory("watched");
		dir.register(watch, StandardWatchEventKinds.ENTRY_CREATE);
		Files.createFile(dir.resolve("f"));
		pass("watched directory", watch.poll(10, TimeUnit.SECONDS) != null);
		pass("processes", ProcessHandle.allProcesses().count() > 0);
		Runtime.getRuntime().addShutdownHook(new Thread(() -> pass("end", true)));
	}

	public static void main(String[] args) throws Exception {
		signals();
		memory();
		sockets();
		system();
		System.exit(0);
	}
}
