package platform

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Kinds of argument specification in the table.
const (
	argString = 1 // NUL-terminated: the first stringChunk bytes, within the page
	argFixed  = 2 // param bytes
	argLength = 3 // as many units as another argument says

	// tableCalls is how many system calls the table has rows for.
	tableCalls = 512
	rowSize    = 16
	maxSpecs   = 3
)

// gregs are the offsets of the six arguments in a slot's registers.
var gregs = [6]uint32{8 * 8, 9 * 8, 12 * 8, 2 * 8, 0 * 8, 1 * 8}

// argSpec says what one argument of a call points to.
type argSpec uint32

// str is a path or a name in argument arg, counted from 0.
func str(arg int) argSpec { return argSpec(argString<<24 | gregs[arg]<<16) }

// fixed is n bytes.
func fixed(arg int, n uint32) argSpec { return argSpec(argFixed<<24 | gregs[arg]<<16 | n) }

// atStack is n bytes where the stack pointer is.
func atStack(n uint32) argSpec { return argSpec(argFixed<<24 | gregRSP<<16 | n) }

// gregRSP is the offset of the stack pointer.
const gregRSP = 15 * 8

// length is as many units of 1<<shift bytes as argument count says.
func length(arg, count int, shift uint32) argSpec {
	return argSpec(argLength<<24 | gregs[arg]<<16 | shift<<8 | gregs[count])
}

// argTable says which memory each system call reads through its arguments, so
// that the stub can copy it into the slot before it asks. A call that is not
// here, an argument that is longer than maxCopyIn, and a copy that faults are
// fetched by the sentry; the table only saves time.
var argTable = map[uint32][]argSpec{
	unix.SYS_WRITE:           {length(1, 2, 0)},
	unix.SYS_PWRITE64:        {length(1, 2, 0)},
	unix.SYS_WRITEV:          {length(1, 2, 4)},
	unix.SYS_READV:           {length(1, 2, 4)},
	unix.SYS_OPEN:            {str(0)},
	unix.SYS_STAT:            {str(0)},
	unix.SYS_LSTAT:           {str(0)},
	unix.SYS_POLL:            {length(0, 1, 3)},
	unix.SYS_PPOLL:           {length(0, 1, 3), fixed(2, 16), fixed(3, 8)},
	unix.SYS_RT_SIGACTION:    {fixed(1, 32)},
	unix.SYS_RT_SIGPROCMASK:  {fixed(1, 8)},
	unix.SYS_RT_SIGSUSPEND:   {fixed(0, 8)},
	unix.SYS_RT_SIGRETURN:    {atStack(SigReturnSize)},
	unix.SYS_RT_SIGTIMEDWAIT: {fixed(0, 8), fixed(2, 16)},
	unix.SYS_IOCTL:           {},
	unix.SYS_ACCESS:          {str(0)},
	unix.SYS_NANOSLEEP:       {fixed(0, 16)},
	unix.SYS_CLOCK_NANOSLEEP: {fixed(2, 16)},
	unix.SYS_SETITIMER:       {fixed(1, 32)},
	unix.SYS_CONNECT:         {length(1, 2, 0)},
	unix.SYS_BIND:            {length(1, 2, 0)},
	unix.SYS_SENDFILE:        {fixed(2, 8)},
	unix.SYS_COPY_FILE_RANGE: {fixed(1, 8), fixed(3, 8)},
	unix.SYS_SENDTO:          {length(1, 2, 0), length(4, 5, 0)},
	unix.SYS_SENDMSG:         {fixed(1, 56)},
	unix.SYS_RECVMSG:         {fixed(1, 56)},
	unix.SYS_SETSOCKOPT:      {length(3, 4, 0)},
	unix.SYS_TRUNCATE:        {str(0)},
	unix.SYS_CHDIR:           {str(0)},
	unix.SYS_RENAME:          {str(0), str(1)},
	unix.SYS_MKDIR:           {str(0)},
	unix.SYS_RMDIR:           {str(0)},
	unix.SYS_CREAT:           {str(0)},
	unix.SYS_LINK:            {str(0), str(1)},
	unix.SYS_UNLINK:          {str(0)},
	unix.SYS_SYMLINK:         {str(0), str(1)},
	unix.SYS_READLINK:        {str(0)},
	unix.SYS_CHMOD:           {str(0)},
	unix.SYS_CHOWN:           {str(0)},
	unix.SYS_LCHOWN:          {str(0)},
	unix.SYS_STATFS:          {str(0)},
	unix.SYS_SIGALTSTACK:     {fixed(0, 24)},
	unix.SYS_SETXATTR:        {str(0), str(1), length(2, 3, 0)},
	unix.SYS_LSETXATTR:       {str(0), str(1), length(2, 3, 0)},
	unix.SYS_GETXATTR:        {str(0), str(1)},
	unix.SYS_LGETXATTR:       {str(0), str(1)},
	unix.SYS_FGETXATTR:       {str(1)},
	unix.SYS_EPOLL_CTL:       {fixed(3, 12)},
	unix.SYS_TIMERFD_SETTIME: {fixed(2, 32)},
	unix.SYS_OPENAT:          {str(1)},
	unix.SYS_MKDIRAT:         {str(1)},
	unix.SYS_MKNODAT:         {str(1)},
	unix.SYS_FCHOWNAT:        {str(1)},
	unix.SYS_NEWFSTATAT:      {str(1)},
	unix.SYS_UNLINKAT:        {str(1)},
	unix.SYS_RENAMEAT:        {str(1), str(3)},
	unix.SYS_RENAMEAT2:       {str(1), str(3)},
	unix.SYS_LINKAT:          {str(1), str(3)},
	unix.SYS_SYMLINKAT:       {str(0), str(2)},
	unix.SYS_READLINKAT:      {str(1)},
	unix.SYS_FCHMODAT:        {str(1)},
	unix.SYS_FACCESSAT:       {str(1)},
	unix.SYS_FACCESSAT2:      {str(1)},
	unix.SYS_PSELECT6:        {fixed(4, 16), fixed(5, 16)},
	unix.SYS_UTIMENSAT:       {str(1), fixed(2, 32)},
	unix.SYS_STATX:           {str(1)},
	unix.SYS_OPENAT2:         {str(1), length(2, 3, 0)},
	unix.SYS_EXECVE:          {str(0)},
	unix.SYS_EXECVEAT:        {str(1)},
	unix.SYS_PRLIMIT64:       {fixed(2, 16)},
	unix.SYS_CLONE3:          {length(0, 1, 0)},
}

// encodeArgTable lays the table out as the stub reads it: a row of rowSize
// bytes a call, its specifications first, zero after the last.
func encodeArgTable(p []byte) {
	for nr, specs := range argTable {
		for i, s := range specs[:min(len(specs), maxSpecs)] {
			binary.LittleEndian.PutUint32(p[int(nr)*rowSize+4*i:], uint32(s))
		}
	}
}
