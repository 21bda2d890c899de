package loader

import (
	"bytes"
	"strings"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/vfs"
)

const (
	maxScripts   = 5 // interpreters of interpreters: execve(2)
	scriptLine   = 256
	staticBase   = 0x5555_5555_0000 // where position-independent programs go, about
	dynamicSlack = 1 << 16          // pages of randomness
)

// Request is what execve(2) asks for.
type Request struct {
	File *vfs.File // open for reading; Load takes no reference
	Path string    // as given, for AT_EXECFN and scripts
	// OutOfReach says that a script's interpreter could not open Path: ENOENT.
	OutOfReach bool
	Argv       []string
	Envv       []string
	// Open opens an interpreter: read-only, executable by the caller.
	Open func(path string) (*vfs.File, error)
}

// Program is a file that is part of the image.
type Program struct {
	File *vfs.File
	im   *image
	bias uint64
}

// Image is the plan of a new program's memory.
type Image struct {
	// Exe is the program, Interp its dynamic linker or nil. The caller drops the
	// references of files that Load opened: Opened.
	Exe, Interp *Program
	Opened      []*vfs.File
	Argv, Envv  []string
	ExecPath    string
}

// Close drops the files that Load opened.
func (im *Image) Close(ctx vfs.Context) {
	for _, f := range im.Opened {
		f.DecRef(ctx)
	}
	im.Opened = nil
}

// Load reads the program and whatever it names. ENOEXEC, ELIBBAD, ELOOP, and
// what reading and opening give.
func Load(ctx vfs.Context, r Request) (*Image, error) {
	im := &Image{Argv: r.Argv, Envv: r.Envv, ExecPath: r.Path}
	if err := im.load(ctx, r); err != nil {
		im.Close(ctx)
		return nil, err
	}
	return im, nil
}

func (im *Image) load(ctx vfs.Context, r Request) error {
	file, path := r.File, r.Path
	for depth := 0; ; depth++ {
		head := make([]byte, scriptLine)
		n, err := file.Pread(ctx, head, 0)
		if err != nil {
			return err
		}
		head = head[:n]
		if !bytes.HasPrefix(head, []byte("#!")) {
			return im.loadELF(ctx, r, file, head)
		}
		if depth == maxScripts {
			return linux.ELOOP
		}
		if r.OutOfReach {
			return linux.ENOENT
		}
		interp, arg, err := parseScript(head)
		if err != nil {
			return err
		}
		argv := []string{interp}
		if arg != "" {
			argv = append(argv, arg)
		}
		argv = append(argv, path)
		if len(im.Argv) > 0 {
			argv = append(argv, im.Argv[1:]...)
		}
		im.Argv = argv
		if file, err = r.Open(interp); err != nil {
			return err
		}
		im.Opened = append(im.Opened, file)
		path = interp
	}
}

// parseScript reads a "#!" line.
func parseScript(head []byte) (interp, arg string, err error) {
	line := head[2:]
	if i := bytes.IndexByte(line, '\n'); i >= 0 {
		line = line[:i]
	} else if len(head) == scriptLine {
		if !bytes.ContainsAny(bytes.TrimLeft(line, " \t"), " \t") {
			return "", "", linux.ENOEXEC // the interpreter's name is cut off
		}
		line = line[:len(line)-1] // Linux keeps the last byte for the end of the string
	} else if len(bytes.TrimLeft(line, " \t")) == 0 {
		return "", "", linux.EACCES // the empty name is the working directory's
	}
	s := strings.Trim(string(line), " \t")
	if i := strings.IndexByte(s, 0); i >= 0 {
		s = s[:i]
	}
	interp, arg, _ = strings.Cut(s, " ")
	if i := strings.IndexByte(interp, '\t'); i >= 0 {
		interp, arg = interp[:i], interp[i+1:]+" "+arg
	}
	if interp == "" {
		return "", "", linux.ENOEXEC
	}
	return interp, strings.Trim(arg, " \t"), nil
}

func (im *Image) loadELF(ctx vfs.Context, r Request, file *vfs.File, head []byte) error {
	exe, err := parse(head, reading(ctx, file))
	if err != nil {
		return err
	}
	im.Exe = &Program{File: file, im: exe}
	if exe.interp == "" {
		return nil
	}
	f, err := r.Open(exe.interp)
	if err != nil {
		return err
	}
	im.Opened = append(im.Opened, f)
	head = make([]byte, headerSize)
	if n, err := f.Pread(ctx, head, 0); err != nil || n < len(head) {
		return linux.ELIBBAD
	}
	linker, err := parse(head, reading(ctx, f))
	if err != nil || linker.interp != "" {
		return linux.ELIBBAD
	}
	im.Interp = &Program{File: f, im: linker}
	return nil
}

func reading(ctx vfs.Context, f *vfs.File) reader {
	return func(p []byte, off int64) (int, error) { return f.Pread(ctx, p, off) }
}

// Placement is where an image's parts have been put.
type Placement struct {
	Entry     mm.Addr // where the thread starts: the dynamic linker's, if there is one
	ProgEntry mm.Addr // AT_ENTRY
	Phdr      mm.Addr // AT_PHDR
	Phnum     uint16
	Base      mm.Addr // AT_BASE: the dynamic linker's, 0 without
	Brk       mm.Addr // end of the program's data
	CodeStart mm.Addr
	CodeEnd   mm.Addr
	ExecStack bool
}

// Place decides where the parts go and gives their mappings. randomPages gives a
// random number of pages below n, in bytes.
func (im *Image) Place(randomPages func(n uint64) uint64, mmapTop mm.Addr) (Placement, []mm.Load, error) {
	exe := im.Exe.im
	if exe.dyn {
		if im.Interp == nil {
			// A static position-independent program, or a dynamic linker itself.
			im.Exe.bias = alignUp(mmapTop-(1<<36)-randomPages(dynamicSlack), exe.align) - exe.low
		} else {
			im.Exe.bias = alignUp(staticBase+randomPages(dynamicSlack<<4), exe.align) - exe.low
		}
	}
	if exe.high-exe.low > mm.GuestTop/2 || exe.high+im.Exe.bias > mmapTop || exe.low+im.Exe.bias < pageSize*16 {
		return Placement{}, nil, linux.ENOMEM
	}
	p := Placement{
		Entry: exe.entry + im.Exe.bias, ProgEntry: exe.entry + im.Exe.bias, Phnum: exe.phnum,
		Brk: exe.high + im.Exe.bias, ExecStack: exe.execStack,
	}
	if exe.phdr != 0 {
		p.Phdr = exe.phdr + im.Exe.bias
	}
	for _, s := range exe.segments {
		if s.prot&4 != 0 {
			p.CodeStart, p.CodeEnd = s.addr+im.Exe.bias, s.addr+im.Exe.bias+s.fileSize
			break
		}
	}
	loads := im.Exe.loads(0)
	if im.Interp != nil {
		in := im.Interp.im
		if in.dyn {
			// At the top, as Linux has it: libraries follow close below, in as few page
			// tables as there can be.
			im.Interp.bias = alignDown(mmapTop-(in.high-in.low), in.align) - in.low
		}
		if in.high-in.low > 1<<32 || in.high+im.Interp.bias > mmapTop || in.low+im.Interp.bias < pageSize*16 {
			return Placement{}, nil, linux.ELIBBAD
		}
		p.Base, p.Entry = im.Interp.bias, in.entry+im.Interp.bias
		loads = append(loads, im.Interp.loads(1)...)
	}
	return p, loads, nil
}

func alignUp(v, align uint64) uint64 {
	if align < pageSize {
		align = pageSize
	}
	return (v + align - 1) &^ (align - 1)
}

func alignDown(v, align uint64) uint64 {
	if align < pageSize {
		align = pageSize
	}
	return v &^ (align - 1)
}

// loads gives the mappings of a file's segments.
func (p *Program) loads(file int) []mm.Load {
	var out []mm.Load
	for _, s := range p.im.segments {
		start, end := mm.PageDown(s.addr), s.addr+s.memSize
		fileEnd := s.addr + s.fileSize
		l := mm.Load{Prot: s.prot, Start: start + p.bias, File: file, Offset: s.offset - (s.addr - start)}
		if s.fileSize > 0 {
			l.FileEnd = mm.PageUp(fileEnd) + p.bias
		} else {
			l.FileEnd = l.Start
		}
		l.End = mm.PageUp(end) + p.bias
		if s.memSize > s.fileSize && s.fileSize > 0 {
			l.ZeroFrom, l.ZeroTo = fileEnd+p.bias, l.FileEnd
		}
		out = append(out, l)
	}
	return out
}
