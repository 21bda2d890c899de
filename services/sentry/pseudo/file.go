package pseudo

import (
	"sync"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/budget"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

// maxWrite is the most that one write to a knob may bring, in bytes.
const maxWrite = 4096

// large is from where on a text may be kept only while there is room for more, in bytes.
const large = 32 << 10

// File is a regular file of generated text.
type File struct {
	node
	text  func(ctx vfs.Context) ([]byte, error)
	set   func(ctx vfs.Context, opener *vfs.Creds, p []byte) error
	check func(ctx vfs.Context) error
	bind  func(ctx vfs.Context) func(ctx vfs.Context) ([]byte, error)
	queue *wait.Queue
}

// File makes a file whose text is what text gives when it is read from its
// start; further reads of the same open file go on in the same text.
func (fs *FS) File(mode uint32, owner Owner, text func(ctx vfs.Context) ([]byte, error)) *File {
	return &File{node: fs.node(linux.S_IFREG|mode, owner), text: text}
}

// Text makes a file that always reads the same.
func (fs *FS) Text(mode uint32, text string) *File {
	return fs.File(mode, nil, func(vfs.Context) ([]byte, error) { return []byte(text), nil })
}

// WithSet makes f writable: set gets each write's bytes, wherever it goes to.
func (f *File) WithSet(set func(ctx vfs.Context, p []byte) error) *File {
	f.set = func(ctx vfs.Context, _ *vfs.Creds, p []byte) error { return set(ctx, p) }
	return f
}

// WithSetBy is WithSet for what goes by who opened the file, too: whoever writes may
// have been lent the descriptor by one with less power.
func (f *File) WithSetBy(set func(ctx vfs.Context, opener *vfs.Creds, p []byte) error) *File {
	f.set = set
	return f
}

// WithCheck has check decide who may open f, once its mode allowed it.
func (f *File) WithCheck(check func(ctx vfs.Context) error) *File {
	f.check = check
	return f
}

// WithBind has bind say, when f is opened and check has allowed it, what makes the text of
// that open file.
func (f *File) WithBind(bind func(ctx vfs.Context) func(ctx vfs.Context) ([]byte, error)) *File {
	f.bind = bind
	return f
}

// WithQueue has poll(2) and epoll(7) of f wait for what q tells.
func (f *File) WithQueue(q *wait.Queue) *File {
	f.queue = q
	return f
}

// guardedFile is a File that decides itself who may use it.
type guardedFile struct {
	*File
	permit func(ctx vfs.Context, mask uint32) error
}

// Permit implements vfs.Permitter.
func (g *guardedFile) Permit(ctx vfs.Context, mask uint32) error { return g.permit(ctx, mask) }

// WithPermit is f where permit decides who may read (4) and write (2) it, in
// place of its mode.
func (f *File) WithPermit(permit func(ctx vfs.Context, mask uint32) error) vfs.Node {
	return &guardedFile{f, permit}
}

// Open implements vfs.Opener.
func (f *File) Open(ctx vfs.Context, flags linux.OpenFlags) (vfs.Impl, error) {
	if f.check != nil {
		if err := f.check(ctx); err != nil {
			return nil, err
		}
	}
	if f.queue != nil {
		return &watched{open{file: f, opener: ctx.Creds(), make: f.text}, f.queue}, nil
	}
	o := &open{file: f, opener: ctx.Creds(), make: f.text}
	if f.bind != nil {
		o.make = f.bind(ctx)
	}
	return o, nil
}

// open is an open File.
type open struct {
	file   *File
	opener *vfs.Creds
	make   func(ctx vfs.Context) ([]byte, error)

	mu   sync.Mutex
	text []byte // a snapshot; nil before the first read
}

// Release implements vfs.Impl.
func (o *open) Release() {}

// ReadAt implements vfs.ReaderAt. The text is generated without o's lock held,
// as it may need the caller's memory.
func (o *open) ReadAt(ctx vfs.Context, p []byte, off int64) (int, error) {
	if o.make == nil {
		return 0, linux.EINVAL
	}
	o.mu.Lock()
	text := o.text
	o.mu.Unlock()
	if off == 0 || text == nil {
		fresh, err := o.make(ctx)
		if err == nil && len(fresh) > large {
			err = budget.Check()
		}
		if err != nil {
			return 0, err
		}
		text = fresh
		if text == nil {
			text = []byte{}
		}
		o.mu.Lock()
		o.text = text
		o.mu.Unlock()
	}
	if off >= int64(len(text)) {
		return 0, nil
	}
	return copy(p, text[off:]), nil
}

// WriteAt implements vfs.WriterAt.
func (o *open) WriteAt(ctx vfs.Context, p []byte, off int64) (int, int64, error) {
	if o.file.set == nil {
		return 0, 0, linux.EIO
	}
	if len(p) > maxWrite {
		return 0, 0, linux.EINVAL
	}
	if err := o.file.set(ctx, o.opener, append([]byte(nil), p...)); err != nil {
		return 0, 0, err
	}
	return len(p), max(off, 0) + int64(len(p)), nil
}
