package main

import (
	"fmt"
	"net/netip"
	"strings"
)

// ranges is a flag: ranges of addresses, or single ones, with commas between them.
type ranges []netip.Prefix

func (r *ranges) String() string {
	texts := make([]string, len(*r))
	for i, p := range *r {
		texts[i] = p.String()
	}
	return strings.Join(texts, ",")
}

func (r *ranges) Type() string { return "CIDR,..." }

// Set implements pflag.Value. What it is given last counts, and "" is none.
func (r *ranges) Set(text string) error {
	*r = nil
	if text == "" {
		return nil
	}
	for part := range strings.SplitSeq(text, ",") {
		p, err := parseRange(strings.TrimSpace(part))
		if err != nil {
			return err
		}
		*r = append(*r, p)
	}
	return nil
}

func parseRange(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		return p, fmt.Errorf("%q is no range: write addresses such as 10.252.0.0/24 or 10.252.0.7, with commas between them", text)
	case p.Bits() == 0:
		return p, fmt.Errorf("%s are all addresses there are: any client could choose its own; write those of the proxies", text)
	case p.Addr().Is4In6():
		return p, fmt.Errorf("%s: write it as a range of IPv4", text)
	}
	return p.Masked(), nil
}
