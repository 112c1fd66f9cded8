package install

import (
	"context"
	"slices"
)

// ask returns what the server offers after the newest version, and stores of each version whether it is still offered.
//
// Errors: those of Server.Check.
func (i *Installation) ask(ctx context.Context, s *Server) ([]Offer, error) {
	channel := i.license.Channel()
	check := func(after int64) ([]Offer, error) {
		return s.Check(ctx, channel.ID, after, i.license.Sequence, i.state.LastCheck)
	}
	newest := i.newestOf(channel.ID)
	offers, err := check(newest)
	if err != nil || !slices.ContainsFunc(i.state.Versions, func(v Version) bool {
		return v.ChannelID == channel.ID && (i.state.Current < 0 || !v.sameRelease(i.state.Versions[i.state.Current]))
	}) {
		return offers, err
	}
	// Only an answer about all versions says which of those that are here are offered. It comes second: what the first question names as
	// installed is what the vendor sees in the fleet.
	all, err := check(0)
	if err != nil {
		return nil, err
	}
	if err := i.mark(channel.ID, all); err != nil {
		return nil, err
	}
	if after := i.newestOf(channel.ID); after != newest {
		return check(after)
	}
	return offers, nil
}

// newestOf returns the sequence at its channel of the newest version of the channel that is not withdrawn, or else of the newest; 0 for
// none. On a channel with semantic versions it need not be the largest.
func (i *Installation) newestOf(channel string) (sequence int64) {
	for _, v := range slices.Backward(i.state.Versions) {
		if v.ChannelID != channel {
			continue
		}
		if !i.withdrawn(v) {
			return v.ChannelSequence
		}
		if sequence == 0 {
			sequence = v.ChannelSequence
		}
	}
	return sequence
}

// fullAnswer is the number of versions from which on a server may have left out earlier ones.
const fullAnswer = 200

// mark stores which versions of a channel are offered. A version that is earlier than those of a full answer stays as it is.
func (i *Installation) mark(channel string, offers []Offer) error {
	offered := make([]int64, len(offers))
	for n, o := range offers {
		offered[n] = o.ChannelSequence
	}
	slices.Sort(offered)
	from := int64(0)
	if len(offered) >= fullAnswer {
		from = offered[len(offered)-fullAnswer]
	}
	changed := map[int64]bool{}
	for _, v := range i.state.Versions {
		_, is := slices.BinarySearch(offered, v.ChannelSequence)
		if v.ChannelID == channel && !v.Airgap && v.NotOffered == is && (is || v.ChannelSequence >= from) {
			changed[v.Sequence] = true
			if !is && v.DeployedAt == nil {
				i.o.Say("the vendor does not offer the version %d (%s) any more", v.Sequence, v.Label)
			}
		}
	}
	if len(changed) == 0 {
		return nil
	}
	return i.change(func(s *state) {
		for n := range s.Versions {
			if changed[int64(n)] {
				s.Versions[n].NotOffered = !s.Versions[n].NotOffered
			}
		}
	})
}
