package launch

import "testing"

func TestMM_theStricterWins(t *testing.T) {
	for _, c := range []struct{ flag, annotation, want string }{
		{"native", "", "native"},
		{"verified", "", "verified"},
		{"native", "verified", "verified"},
		{"verified", "native", "verified"},
		{"native", "strict", "error"},
	} {
		var m MM
		if err := m.Set(c.flag); err != nil {
			t.Fatal(err)
		}
		annotations := map[string]string{"other": "x"}
		if c.annotation != "" {
			annotations[MMAnnotation] = c.annotation
		}
		got := "error"
		if err := m.Annotated(annotations); err == nil {
			got = m.String()
		}
		if got != c.want {
			t.Errorf("flag %s, annotation %q: %s, want %s", c.flag, c.annotation, got, c.want)
		}
	}
}

func TestMM_flagTakesTwoWords(t *testing.T) {
	var m MM
	if err := m.Set("none"); err == nil {
		t.Error("none was taken")
	}
}
