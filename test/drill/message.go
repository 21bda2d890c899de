package drill

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// controlRoom is how much room for control messages a call has.
const controlRoom = 512

// vector adds an array of struct iovec to a request: {..., LENGTH} for each.
func (r *request) vector(x expr) (int32, error) {
	array := r.buffer(make([]byte, 16*len(x.list)))
	for i, part := range x.list {
		if len(part.fields) != 2 || len(r.buffers) > 100 {
			return 0, fmt.Errorf("a vector of no {..., LENGTH}, or of too many")
		}
		n := part.fields[1].value.num
		if n < 0 || n > most {
			return 0, fmt.Errorf("%d bytes", n)
		}
		host.PutUint64(r.buffers[array][16*i+8:], uint64(n))
		r.point(array, 16*i, r.buffer(make([]byte, n)))
	}
	return array, nil
}

// prepareVector is readv or writev.
func prepareVector(number int64) preparer {
	return func(d *drill, args []expr) (prepared, error) {
		r := newRequest(number).value(d.fd(args[0]))
		array, err := r.vector(args[1])
		r.args = append(r.args, argument{Place: place{Buffer: array}})
		return prepared{request: r.value(args[2].num)}, err
	}
}

// prepareMessage is sendmsg or recvmsg.
func prepareMessage(number int64) preparer {
	return func(d *drill, args []expr) (prepared, error) {
		x := args[1]
		r := newRequest(number).value(d.fd(args[0]))
		header := make([]byte, unix.SizeofMsghdr)
		at := r.buffer(header)
		if iov, ok := x.field("msg_iov"); ok {
			array, err := r.vector(iov)
			if err != nil {
				return prepared{}, err
			}
			r.point(at, 16, array)
			host.PutUint64(header[24:], uint64(len(iov.list)))
		}
		var control []byte
		if number == unix.SYS_RECVMSG {
			control = make([]byte, controlRoom)
			r.point(at, 32, r.buffer(control))
			host.PutUint64(header[40:], controlRoom)
		}
		r.args = append(r.args, argument{Place: place{Buffer: at}})
		r.value(args[2].num)
		if number != unix.SYS_RECVMSG {
			return prepared{request: r}, nil
		}
		return prepared{r, func() error {
			if want, ok := x.field("msg_flags"); ok && want.kind == exprNumber {
				if err := same("msg_flags", int64(host.Uint32(header[48:])), want.num); err != nil {
					return err
				}
			}
			want, ok := x.field("msg_control")
			if !ok || want.kind != exprList {
				return nil
			}
			return compareControl(control[:min(host.Uint64(header[40:]), controlRoom)], want.list)
		}}, nil
	}
}

// compareControl holds control messages against those that a script wants.
func compareControl(b []byte, want []expr) error {
	got, err := unix.ParseSocketControlMessage(b)
	if err != nil {
		return err
	}
	if len(got) != len(want) {
		return fmt.Errorf("%d control messages, not %d: %v", len(got), len(want), got)
	}
	for i, x := range want {
		m := got[i]
		if err := same("cmsg_level", int64(m.Header.Level), x.number("cmsg_level")); err != nil {
			return err
		}
		if err := same("cmsg_type", int64(m.Header.Type), x.number("cmsg_type")); err != nil {
			return err
		}
		data, _ := x.field("cmsg_data")
		if err := compareData(m.Data, data); err != nil {
			return err
		}
	}
	return nil
}

// compareData holds the data of a control message: an int or a struct sock_extended_err.
func compareData(b []byte, want expr) error {
	switch {
	case want.kind == exprNumber && len(b) >= 4:
		return same("cmsg_data", int64(int32(host.Uint32(b))), want.num)
	case want.kind == exprStruct && len(b) >= 16:
		got := map[string]int64{"ee_errno": int64(host.Uint32(b)), "ee_origin": int64(b[4]), "ee_type": int64(b[5]), "ee_code": int64(b[6]),
			"ee_info": int64(host.Uint32(b[8:])), "ee_data": int64(host.Uint32(b[12:]))}
		for _, f := range want.fields {
			v, known := got[f.name]
			if !known {
				return nil // a structure of another kind, whose values are times
			}
			if err := same(f.name, v, f.value.num); err != nil {
				return err
			}
		}
		return nil
	case want.kind == exprEllipsis:
		return nil
	}
	return fmt.Errorf("cmsg_data of %d bytes", len(b))
}
