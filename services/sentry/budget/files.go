package budget

import (
	"sync"
	"sync/atomic"
	"time"
)

const pageSize = 4096

// filePages is how many pages all files in memory and segments of shared memory hold.
var filePages atomic.Int64

// FilesMost is how many they may: half of the memory, whatever size a guest gives a
// file system. Nobody's resident set shows what is only in files, so that the host, out
// of memory for their sake, would end one innocent process after another. Tests set it.
var FilesMost = func() int64 { return int64(Memory() / pageSize / 2) }

// FilePages is how many there are.
func FilePages() int64 { return filePages.Load() }

// AddFilePages counts n more, whatever the limit, and says whether they are more than
// may be.
func AddFilePages(n int64) (over bool) { return filePages.Add(n) > FilesMost() }

// A Mapped file is one that guests have mapped: the host gives it pages without the
// sentry's being asked.
type Mapped interface {
	// Recount counts the pages that the file has by now, by AddFilePages, and says by
	// Watch how many more it can get, with the lock held under which it is freed.
	Recount()
}

// watch is of the files that are mapped and have holes. As long as there is room for
// all that they can get, nobody need look.
var watch struct {
	sync.Mutex
	more    map[Mapped]int64
	sum     int64
	looking bool
}

// Overrun is called when mapped files get more than there may be, and an eighth on top:
// it ends who has mapped the most. Set before Start.
var Overrun = func() {}

// Watch has an eye on a file that is mapped, or whose size has changed since: it can get
// so many more pages. Zero forgets it.
func Watch(f Mapped, more int64) {
	w := &watch
	w.Lock()
	defer w.Unlock()
	w.sum += more - w.more[f]
	switch {
	case more == 0:
		delete(w.more, f)
	case w.more == nil:
		w.more = map[Mapped]int64{f: more}
	default:
		w.more[f] = more
	}
	if !w.looking && filePages.Load()+w.sum > FilesMost() {
		w.looking = true
		go lookAtFiles()
	}
}

// lookAtFiles counts until there is room for whatever comes.
func lookAtFiles() {
	w := &watch
	for {
		w.Lock()
		if filePages.Load()+w.sum <= FilesMost() {
			w.looking = false
			w.Unlock()
			return
		}
		files := make([]Mapped, 0, len(w.more))
		for f := range w.more {
			files = append(files, f)
		}
		w.Unlock()
		start, before := time.Now(), filePages.Load()
		for _, f := range files {
			f.Recount()
		}
		most := FilesMost()
		if n := filePages.Load(); n > before && n > most+most/8 {
			Overrun()
		}
		time.Sleep(max(untilFull(most-filePages.Load()), 10*time.Since(start)))
	}
}

// untilFull is how long guests need to fill so many pages, if they do their best.
func untilFull(room int64) time.Duration {
	const pagePerSecond = 1 << 20
	return min(max(time.Duration(room)*(time.Second/pagePerSecond), 20*time.Millisecond), time.Second)
}
