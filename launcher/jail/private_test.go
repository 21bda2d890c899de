package jail

import "testing"

func TestMapped(t *testing.T) {
	const initial, container = "         0          0 4294967295\n", "0 100000 65536\n70000 1 1\n"
	for _, c := range []struct {
		text string
		id   uint64
		want bool
	}{
		{initial, privateFirst, true}, {initial, 4294967295, false}, {container, privateFirst, false},
		{container, 65535, true}, {container, 65536, false}, {container, 70000, true}, {"", 0, false}, {"nonsense\n", 0, false},
	} {
		if got := mapped(c.text, c.id); got != c.want {
			t.Errorf("%d in %q: %v", c.id, c.text, got)
		}
	}
	if id := Private(); id != Nobody && (id < privateFirst || id >= privateFirst+privateCount) || id != Private() {
		t.Errorf("id %d, then %d", id, Private())
	}
}
