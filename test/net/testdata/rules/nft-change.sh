# Changes one after the other, with handles; what is refused leaves everything as it was.
nft add table ip t
nft add chain ip t c '{ type filter hook input priority 0 ; policy accept ; }'
nft add chain ip t d
nft add rule ip t c tcp dport 1 accept
nft add rule ip t c tcp dport 2 accept
nft insert rule ip t c tcp dport 3 accept
nft -a list ruleset
nft add rule ip t c position 4 tcp dport 4 accept
nft add rule ip t c handle 4 tcp dport 14 accept
nft insert rule ip t c index 1 tcp dport 5 accept
nft replace rule ip t c handle 4 tcp dport 6 drop
nft -a list ruleset
nft delete rule ip t c handle 5
nft -a list ruleset
nft add chain ip t c '{ policy drop ; }'
nft rename chain ip t d e
nft list ruleset
nft add table ip t '{ flags dormant; }'
nft list ruleset
nft create table ip t; echo rc=$?
nft create chain ip t c; echo rc=$?
nft add rule ip t nobody accept; echo rc=$?
nft add rule ip nobody c accept; echo rc=$?
nft delete rule ip t c handle 99; echo rc=$?
nft add rule ip t c jump e
nft add rule ip t e jump c 2>/dev/null; echo rc=$?
nft add chain ip t f
nft add rule ip t f jump e
nft add rule ip t e jump f; echo rc=$?
nft delete chain ip t e; echo rc=$?
nft add rule ip t c masquerade; echo rc=$?
nft add chain ip t bad '{ type nat hook forward priority 0 ; }'; echo rc=$?
nft add chain ip t bad '{ type nonsense hook input priority 0 ; }' 2>/dev/null; echo rc=$?
nft -f - <<'R'
add rule ip t c tcp dport 100 accept
add rule ip t c tcp dport 101 accept
add rule ip t nobody tcp dport 102 accept
R
echo rc=$?
nft -f - <<'R'
flush table ip t
delete table ip t
add table ip t
add chain ip t n { type filter hook input priority 0; }
add rule ip t n accept
R
echo rc=$?
nft -a list ruleset
nft -c add rule ip t n drop; echo rc=$?
nft -e -a add rule ip t n tcp dport 9 drop | grep -v generation
nft -a list ruleset
nft flush chain ip t n
nft list ruleset
nft delete table ip t
nft delete table ip t; echo rc=$?
nft destroy table ip t 2>/dev/null; echo rc=$?
nft add table inet x; nft add table ip6 y
nft flush ruleset
nft list ruleset
for i in $(seq 0 17); do echo "add chain ip deep c$i"; done > /tmp/deep.$$
(echo add table ip deep; cat /tmp/deep.$$; for i in $(seq 0 16); do echo "add rule ip deep c$i jump c$((i+1))"; done; echo 'add chain ip deep base { type filter hook input priority 0; }') | nft -f -; echo rc=$?
echo 'add rule ip deep base jump c0' | nft -f - 2>/dev/null; echo rc=$?
echo 'add rule ip deep base jump c3' | nft -f - 2>/dev/null; echo rc=$?
rm /tmp/deep.$$
nft list ruleset ip | head -3
