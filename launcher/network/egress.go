package network

import (
	"bufio"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
)

// EgressAnnotation holds the rules of the egress policy in a spec, one a line or
// separated by semicolons.
const EgressAnnotation = "dev.bulkhead.egress"

// Rules is a flag whose values are rules with the same verb, in the order of the
// command line among those of the other.
type Rules struct {
	Verb string // allow, deny or resolver
	List *[]string
}

func (r Rules) String() string { return "" }
func (r Rules) Type() string   { return "RULE" }

// Set adds a rule. netd checks it.
func (r Rules) Set(what string) error {
	*r.List = append(*r.List, r.Verb+" "+what)
	return nil
}

// AnnotatedRules are those of a spec's annotations.
func AnnotatedRules(annotations map[string]string) []string {
	var rules []string
	for _, line := range strings.FieldsFunc(annotations[EgressAnnotation], func(r rune) bool { return r == '\n' || r == ';' }) {
		if line = strings.TrimSpace(line); line != "" {
			rules = append(rules, line)
		}
	}
	return rules
}

// Resolved adds the resolvers that rules by name need: those which the rules say
// themselves, or else those of this machine's resolv.conf(5) that a sandbox can reach.
// The guest's own is not asked: it would name a resolver that says what it likes.
func Resolved(rules []string) []string {
	if len(rules) == 0 || slices.ContainsFunc(rules, func(r string) bool { return strings.HasPrefix(r, "resolver ") }) {
		return rules
	}
	f, err := os.Open(resolvConf)
	if err != nil {
		return rules // netd says so if a rule names a host
	}
	defer f.Close()
	for _, a := range nameservers(f) {
		if !a.IsLoopback() {
			rules = append(rules, "resolver "+a.String())
		}
	}
	return rules
}

const resolvConf = "/etc/resolv.conf"

// nameservers reads the addresses of a resolv.conf(5).
func nameservers(r io.Reader) []netip.Addr {
	var list []netip.Addr
	for lines := bufio.NewScanner(io.LimitReader(r, 1<<16)); lines.Scan(); {
		words := strings.Fields(lines.Text())
		if len(words) < 2 || words[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(words[1]); err == nil {
			list = append(list, a.WithZone("").Unmap())
		}
	}
	return list
}
