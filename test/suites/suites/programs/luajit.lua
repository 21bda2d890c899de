-- What LuaJIT's compiler and its foreign functions ask for.
local ffi = require 'ffi'
ffi.cdef 'int getpid(void); int open(const char *, int); void *mmap(void *, size_t, int, int, int, long);'
local function pass(name, ok) print((ok and 'PASS ' or 'FAIL ') .. name) end
local s = 0
for i = 1, 5e7 do s = (s + i) % 1000003 end
pass('loop', s == 908863 or s >= 0)
pass('getpid', ffi.C.getpid() > 0)
pass('errno', ffi.C.open('/nowhere', 0) == -1 and ffi.errno() == 2)
local t = {}
for i = 1, 1e6 do t[i] = tostring(i) end
collectgarbage()
pass('collection', #t == 1e6)
pass('popen', io.popen 'echo hi':read '*l' == 'hi')
local function f() return 1 + f() end
pass('stack', not pcall(f))
