package ip

// plateaus are the MTUs of common links: RFC 1191, section 7.1.
var plateaus = [...]int{32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68}

// Plateau is the next common MTU below mtu, for routers that do not say what
// they carry.
func Plateau(mtu int) int {
	for _, p := range plateaus {
		if p < mtu {
			return p
		}
	}
	return plateaus[len(plateaus)-1]
}
