package deploy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/swarm"
)

// ErrNoRange means that no range of addresses is left for the network of the functions.
var ErrNoRange = errors.New("no free range of addresses for the network of the functions")

// ensureNetwork returns the ID of the overlay network with this name, and makes it when it is missing. Of two that make
// it at once one is refused by the swarm, which has a name once, and takes the network of the other.
func (e *Engine) ensureNetwork(ctx context.Context, name string) (string, error) {
	networks, err := e.docker.NetworkList(ctx, network.ListOptions{})
	if err != nil {
		return "", explain(err)
	}
	if id, err := overlay(networks, name); id != "" || err != nil {
		return id, err
	}
	createErr := e.createNetwork(ctx, name, networks)
	if networks, err = e.docker.NetworkList(ctx, network.ListOptions{}); err != nil {
		return "", explain(err)
	}
	id, err := overlay(networks, name)
	if id == "" && err == nil {
		err = fmt.Errorf("create network %s: %w", name, cmp.Or(explain(createErr), errGone))
	}
	return id, err
}

var errGone = errors.New("somebody removed it at once")

// createNetwork asks for a /16, because Swarm walks through the addresses: the one of a task that has ended is used again
// soon in a small range.
func (e *Engine) createNetwork(ctx context.Context, name string, others []network.Summary) error {
	nodes, err := e.docker.NodeList(ctx, swarm.NodeListOptions{})
	if err != nil {
		return err
	}
	free, err := freeRange(slices.Concat(ranges(others), addresses(nodes)))
	if err != nil {
		return err
	}
	_, err = e.docker.NetworkCreate(ctx, name, network.CreateOptions{
		Driver:     "overlay",
		Scope:      "swarm",
		Attachable: true,
		IPAM:       &network.IPAM{Config: []network.IPAMConfig{{Subnet: free.String()}}},
	})
	return err
}

// overlay finds a network of the swarm, or "". One of this node alone that has the name is in the way.
func overlay(networks []network.Summary, name string) (string, error) {
	named := slices.DeleteFunc(slices.Clone(networks), func(n network.Summary) bool { return n.Name != name })
	for _, n := range named {
		if n.Scope == "swarm" {
			return n.ID, nil
		}
	}
	if len(named) > 0 {
		return "", fmt.Errorf("the network %s is a %s network of this node alone: remove it (docker network rm %s), or name another one", name, named[0].Driver, name)
	}
	return "", nil
}

// freeRange returns a private range with 65,536 addresses. It begins where Swarm's own networks and people seldom come.
func freeRange(used []netip.Prefix) (netip.Prefix, error) {
	for _, p := range candidates() {
		if !slices.ContainsFunc(used, p.Overlaps) {
			return p, nil
		}
	}
	return netip.Prefix{}, fmt.Errorf("%w: every /16 of 10.0.0.0/8, 172.16.0.0/12 and 192.168.0.0/16 overlaps a network or holds a node: create it yourself (docker network create -d overlay --attachable --subnet RANGE NAME)", ErrNoRange)
}

func candidates() []netip.Prefix {
	var list []netip.Prefix
	for second := 254; second >= 0; second-- {
		list = append(list, prefix16(10, byte(second)))
	}
	for second := 31; second >= 16; second-- {
		list = append(list, prefix16(172, byte(second)))
	}
	return append(list, prefix16(192, 168))
}

func prefix16(first, second byte) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{first, second}), 16)
}

func ranges(networks []network.Summary) []netip.Prefix {
	var list []netip.Prefix
	for _, n := range networks {
		for _, c := range n.IPAM.Config {
			if p, err := netip.ParsePrefix(c.Subnet); err == nil { // some have none, such as "host"
				list = append(list, p)
			}
		}
	}
	return list
}

func addresses(nodes []swarm.Node) []netip.Prefix {
	var list []netip.Prefix
	for _, n := range nodes {
		if a, err := netip.ParseAddr(n.Status.Addr); err == nil { // a node that never came up has none
			list = append(list, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	return list
}
