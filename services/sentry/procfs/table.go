package procfs

import "bulkhead/services/sentry/pseudo"

// table is what is in /proc/PID and /proc/PID/task/TID: proc(5).
var table []row

func init() {
	table = []row{
		dir("task", 0o555, func(e *entry) pseudo.Dynamic { return threads{e} }).onlyIn(inProcess),
		fdDir("fd", 0o500),
		fdinfoDir("fdinfo", 0o555),
		nsDir("ns", 0o511),
		netRow("net"),
		ofMemory("environ", 0o400, environ),
		ofMemory("auxv", 0o400, auxv),
		text("status", 0o444, status),
		private("personality", 0o400, personality),
		text("limits", 0o444, limits),
		knob("comm", 0o644, comm, setComm),
		private("syscall", 0o400, running),
		text("cmdline", 0o444, cmdline),
		text("stat", 0o444, stat),
		text("statm", 0o444, statm),
		ofMemory("maps", 0o444, maps),
		ofMemory("smaps", 0o444, smaps),
		ofMemory("smaps_rollup", 0o444, smapsRollup).onlyIn(inProcess),
		memRow("mem", 0o600),
		cwdLink("cwd"),
		rootLink("root"),
		exeLink("exe"),
		mountTable("mounts", mounts),
		mountTable("mountinfo", mountinfo),
		text("mountstats", 0o400, mountstats).onlyIn(inProcess),
		text("children", 0o444, children).onlyIn(inThread),
		attrRow("attr"),
		fixed("wchan", 0o444, "0"),
		fixed("schedstat", 0o444, "0 0 0\n"),
		text("sched", 0o444, sched),
		text("cgroup", 0o444, cgroup),
		fixed("cpuset", 0o444, "/\n"),
		text("oom_score", 0o444, oomScore),
		knob("oom_adj", 0o644, oomAdj, setOOMAdj),
		knob("oom_score_adj", 0o644, oomScoreAdj, setOOMScoreAdj),
		knob("loginuid", 0o644, loginUID, refuse),
		fixed("sessionid", 0o444, "4294967295"),
		knob("coredump_filter", 0o644, coredumpFilter, accept).onlyIn(inProcess),
		private("io", 0o400, ioCounters),
		knobBy("uid_map", 0o644, uidMap, setUIDMap),
		knobBy("gid_map", 0o644, gidMap, setGIDMap),
		knob("projid_map", 0o644, projidMap, refuse),
		knobBy("setgroups", 0o644, setgroups, setSetgroups),
		knob("timerslack_ns", 0o666, timerSlack, setTimerSlack).onlyIn(inProcess),
	}
}
