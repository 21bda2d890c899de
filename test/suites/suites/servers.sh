# Servers and their clients over the loopback.
# needs: /usr/lib/postgresql/*/bin/initdb redis-server nginx curl wget ssh sshd dnsmasq dig iperf3 ab memcached openssl setpriv python3 rsync
# packages: postgresql redis nginx-light curl wget openssh-server openssh-client dnsmasq dnsutils iperf3 apache2-utils memcached openssl util-linux python3 rsync
# format: words
# timeout: 10m
. "$SUITES/common.inc"
PATH=$PATH:$(echo /usr/lib/postgresql/*/bin)
chmod 755 .
mkdir www && head -c 3000000 /dev/urandom >www/f && echo x >www/i && chmod -R a+rX www
sum=$(md5sum <www/f)
same() { [ "$("$@" | md5sum)" = "$sum" ]; }

mkdir pg && chown postgres pg
postgres() { setpriv --reuid postgres --regid postgres --clear-groups env PGHOST="$here" "$@"; }
here=$PWD
try postgres-initdb postgres initdb -D "$here/pg"
try postgres-start postgres pg_ctl -w -D "$here/pg" -o '-k /tmp' -l "$here/pg/log" start
here=127.0.0.1
try postgres-bench-init postgres pgbench -i -s 1 postgres
try postgres-bench-tcp postgres pgbench -c 8 -j 2 -T 2 postgres
here=/tmp
try postgres-bench-unix postgres pgbench -c 4 -j 2 -T 2 postgres
try postgres-parallel has 100000 postgres psql -Atc 'set max_parallel_workers_per_gather=4; set parallel_setup_cost=0; set parallel_tuple_cost=0; set min_parallel_table_scan_size=0; select count(*) from pgbench_accounts' postgres
kill -9 "$(head -n 1 pg/postmaster.pid)"
sleep 1
try postgres-recovery postgres pg_ctl -w -D "$PWD/pg" -o '-k /tmp' -l "$PWD/pg/log" start
try postgres-stop postgres pg_ctl -w -D "$PWD/pg" -m fast stop

redis-server --port 7777 --daemonize yes --dir "$PWD" --appendonly yes >/dev/null
sleep 1
try redis-benchmark redis-benchmark -p 7777 -n 3000 -q
for c in save bgsave bgrewriteaof shutdown; do try redis-$c redis-cli -p 7777 $c; done
memcached -u nobody -p 7778 -d -P "$PWD/memcached.pid"
sleep 0.5
try memcached has VALUE bash -c 'exec 3<>/dev/tcp/127.0.0.1/7778; printf "set a 0 0 1\r\nx\r\nget a\r\nquit\r\n" >&3; cat <&3'
kill "$(cat memcached.pid)"

openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost 2>/dev/null
cat >nginx.conf <<C
worker_processes 2; error_log $PWD/nginx.err; pid $PWD/nginx.pid; events { worker_connections 512; }
http { access_log off; sendfile on; tcp_nopush on; client_body_temp_path $PWD/n1; proxy_temp_path $PWD/n2; fastcgi_temp_path $PWD/n3; uwsgi_temp_path $PWD/n4; scgi_temp_path $PWD/n5;
server { listen 8080; listen 8443 ssl http2; ssl_certificate $PWD/cert.pem; ssl_certificate_key $PWD/key.pem; root $PWD/www; location /p { proxy_pass http://127.0.0.1:8080/f; } } }
C
try nginx-start nginx -c "$PWD/nginx.conf"
try curl-tls same curl -sk --http1.1 https://127.0.0.1:8443/f
try curl-http2 same curl -sk --http2 https://127.0.0.1:8443/f
try wget-tls same wget -q --no-check-certificate -O- https://127.0.0.1:8443/f
try nginx-proxy same curl -s http://127.0.0.1:8080/p
try ab has 'Failed requests:        0' ab -q -n 1000 -c 20 http://127.0.0.1:8080/i
try ab-keepalive has 'Failed requests:        0' ab -q -k -n 20 -c 5 http://127.0.0.1:8080/f
try nginx-reload nginx -c "$PWD/nginx.conf" -s reload
try nginx-stop nginx -c "$PWD/nginx.conf" -s quit

ssh-keygen -q -t ed25519 -N '' -f id && ssh-keygen -q -t ed25519 -N '' -f hostkey && mkdir -p /run/sshd
printf '%s\n' 'Port 2222' "HostKey $PWD/hostkey" "AuthorizedKeysFile $PWD/id.pub" 'StrictModes no' 'UsePAM no' "PidFile $PWD/sshd.pid" 'Subsystem sftp internal-sftp' >sshd.conf
try sshd /usr/sbin/sshd -f "$PWD/sshd.conf"
o="-q -i $PWD/id -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
try ssh ssh $o -p 2222 root@127.0.0.1 'exit 0'
try ssh-terminal has /dev/pts ssh -tt $o -p 2222 root@127.0.0.1 tty
try ssh-bytes same ssh $o -p 2222 root@127.0.0.1 "cat $PWD/www/f"
try scp scp $o -P 2222 www/f "root@127.0.0.1:$PWD/copied"
try scp-intact cmp www/f copied
try rsync-ssh rsync -a -e "ssh $o -p 2222" www/ "root@127.0.0.1:$PWD/synced"
kill "$(cat sshd.pid)"

try dnsmasq dnsmasq -p 5353 --address=/x.test/1.2.3.4 --no-resolv --pid-file="$PWD/dns.pid" -u root
try dig has 1.2.3.4 dig +short @127.0.0.1 -p 5353 x.test
try dig-tcp has 1.2.3.4 dig +tcp +short @127.0.0.1 -p 5353 x.test
kill "$(cat dns.pid)"

iperf3 -s -D -I "$PWD/iperf.pid" -p 5201
sleep 0.5
for a in '' -R '-P 8' --bidir '-u -b 50M' '-u -b 50M -R' -Z; do try "iperf3 $a" iperf3 -c 127.0.0.1 -t 1 $a; done
kill "$(tr -d '\0' <iperf.pid)"
python3 -u -m http.server -d www --bind 127.0.0.1 8000 >/dev/null 2>&1 &
sleep 1
try python-http same curl -s http://127.0.0.1:8000/f
kill $!
