# shell: /bin/bash
# A shell tree under load: 300 short processes, deep pipelines, many at once.
n=0; for i in $(seq 300); do /bin/true && n=$((n + 1)); done; echo $n
seq 1 1000 | cat | cat | cat | cat | cat | cat | cat | cat | tail -n 1
for i in $(seq 40); do (seq 1 200 | wc -l) & done | sort | uniq -c | tr -s ' '; wait
f() { if [ "$1" -gt 0 ]; then (f $(($1 - 1))); else echo bottom; fi; }; f 30
sh -c 'exec sh -c "exec sh -c \"exit 9\""'; echo $?
sh -c 'kill -9 $$'; echo $?
(trap '' TERM; sh -c 'kill $PPID; echo survived'; true)
{ sleep 0.05; echo late; } & disown; sleep 0.2; echo end
ps -o comm= -p $$ 2>/dev/null || cat /proc/$$/comm
yes | head -n 100000 | md5sum
