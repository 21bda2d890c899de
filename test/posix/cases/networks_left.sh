# needs: unshare ip
# A namespace of the network that nobody is in any more goes, and with it the other ends
# of its pairs of interfaces: here where only a process held it, and where only a name did.
cat > /tmp/left.$$.sh <<'END'
gone() {
	for i in $(seq 300); do
		ip link show "$1" > /dev/null 2>&1 || { echo "$1 is gone"; return; }
		sleep 0.1
	done
	echo "$1 is still there"
}
ip link add v0 type veth peer name v1
unshare -n sleep 600 &
pid=$!
while [ "$(readlink /proc/$pid/ns/net)" = "$(readlink /proc/self/ns/net)" ]; do sleep 0.01; done
ip link set v1 netns $pid
ip -br link show v0 | cut -c1-5
kill $pid
wait $pid 2> /dev/null
gone v0
mkdir -p /run/netns
ip netns add left$$
ip link add v2 type veth peer name v3 netns left$$
ip -br link show v2 | cut -c1-5
ip netns del left$$
gone v2
END
unshare -n -m sh /tmp/left.$$.sh 2>&1
rm /tmp/left.$$.sh
