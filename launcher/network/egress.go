package network

import "strings"

// EgressAnnotation holds the rules of the egress policy in a spec, one a line or
// separated by semicolons.
const EgressAnnotation = "dev.bulkhead.egress"

// Rules is a flag whose values are rules with the same verb, in the order of the
// command line among those of the other.
type Rules struct {
	Verb string // allow or deny
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
