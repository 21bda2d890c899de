package network

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"os"
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

// Resolved adds the resolvers to rules that name hosts: those of the rules
// themselves, or else those that this machine's resolv.conf(5) names. The guest's own
// is not asked: it would name a resolver that says what it likes.
func Resolved(rules []string) ([]string, error) {
	named := false
	for _, r := range rules {
		if strings.HasPrefix(r, "resolver ") {
			return rules, nil
		}
		named = named || namesHost(r)
	}
	if !named {
		return rules, nil
	}
	f, err := os.Open(resolvConf)
	if err != nil {
		return nil, fmt.Errorf("egress rules name hosts: read the resolvers from %s: %w; or name one with --egress-resolver", resolvConf, err)
	}
	defer f.Close()
	found := 0
	for _, a := range nameservers(f) {
		if !a.IsLoopback() { // which a sandbox does not reach
			rules = append(rules, "resolver "+a.String())
			found++
		}
	}
	if found == 0 {
		return nil, fmt.Errorf("egress rules name hosts, and %s names no resolver that a sandbox can reach: name one with --egress-resolver", resolvConf)
	}
	return rules, nil
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

// namesHost says whether a rule's destination may be a name. netd decides; a wrong
// rule is as good as one here.
func namesHost(rule string) bool {
	_, what, _ := strings.Cut(rule, " ")
	for _, p := range []string{"tcp:", "udp:", "icmp:"} {
		what = strings.TrimPrefix(what, p)
	}
	to, _, _ := strings.Cut(what, ":")
	if to == "*" || strings.HasPrefix(to, "[") {
		return false
	}
	if _, err := netip.ParseAddr(to); err == nil {
		return false
	}
	_, err := netip.ParsePrefix(to)
	return err != nil
}
