# needs: bash
# shell: /bin/bash
set -u
d=$(mktemp -d); cd "$d"
diff <(seq 1 5) <(seq 2 6)
a=(x y z); echo "${a[@]:1}" "${#a[@]}"
declare -A m=([k]=v [l]=w); for k in "${!m[@]}"; do echo "$k=${m[$k]}"; done | sort
coproc cat; echo through coproc >&"${COPROC[1]}"; read -r line <&"${COPROC[0]}"; echo "$line"
eval "exec ${COPROC[1]}>&-"; wait
mkfifo p; (echo via fifo >p) & cat p; wait
exec 9>f; echo to nine >&9; exec 9>&-; cat f
for i in {1..20}; do (exit "$i") & pids[i]=$!; done
s=0; for i in {1..20}; do wait "${pids[i]}"; s=$((s + $?)); done; echo "sum $s"
set -o pipefail; false | true; echo "pipefail $?"
timeout 0.2 sleep 5; echo "timeout $?"
sleep 5 & kill -TERM $!; wait $!; echo "killed $?"
(kill -SEGV $BASHPID) 2>/dev/null; echo "segv $?"
trap 'echo chld' CHLD; /bin/true; trap - CHLD
read -r -t 0.1 x </dev/zero; echo "read $?" >/dev/null
printf '%s\n' "$BASH_SUBSHELL" "$((16#ff))" "${d:+set}"
ulimit -n >/dev/null && echo ulimit
[[ -d /proc/self && -r /etc/passwd && ! -e /nowhere ]] && echo tests
touch -d 2001-01-01 old && [ f -nt old ] && echo newer
nonexistent-command 2>/dev/null; echo "$?"
cd / && rm -r "$d"
