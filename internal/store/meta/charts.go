package meta

import "context"

// ReleaseChart is a packed Helm chart among the files of a release.
type ReleaseChart struct {
	Name, Version string
	Path          string // of the file
	Signed        bool   // the release has the provenance file of the chart too
}

// OfferedChart is a chart of a release that a channel offers.
type OfferedChart struct {
	ReleaseChart
	Promotion
}

// putCharts replaces the charts of a release.
func (t *tx) putCharts(r Release) error {
	if _, err := t.exec(`DELETE FROM release_charts WHERE application = $1 AND sequence = $2`, r.Application, r.Sequence); err != nil {
		return err
	}
	for _, c := range r.Charts {
		if _, err := t.exec(`INSERT INTO release_charts (application, sequence, name, version, path, signed) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT DO NOTHING`, r.Application, r.Sequence, c.Name, c.Version, c.Path, truth(c.Signed)); err != nil {
			return err
		}
	}
	return nil
}

// OfferedCharts returns at most limit charts with a name in the releases that a channel offers, those of the newest versions first. With
// pinned above 0, the versions after this sequence of the channel are not among them.
func (s *Store) OfferedCharts(ctx context.Context, channel, label string, pinned int64, limit int) (all []OfferedChart, err error) {
	err = s.read.rows(ctx, `SELECT c.name, c.version, c.path, c.signed, p.channel, p.sequence, p.application, p.release, p.version_label,
		p.proxy_domain, p.registry_domain FROM promotions p
		CROSS JOIN release_charts c WHERE c.application = p.application AND c.sequence = p.release
		AND p.channel = $1 AND p.demoted_at = 0 AND (p.sequence <= $2 OR $2 = 0) AND c.name = $3 ORDER BY p.sequence DESC, c.version LIMIT $4`,
		args{channel, pinned, label, limit}, func(scan func(...any) error) error {
			var c OfferedChart
			err := scan(&c.ReleaseChart.Name, &c.ReleaseChart.Version, &c.Path, &c.Signed, &c.Channel, &c.Promotion.Sequence, &c.Application,
				&c.Promotion.Release, &c.Label, &c.ProxyDomain, &c.RegistryDomain)
			all = append(all, c)
			return err
		})
	return all, err
}

// ReleaseCharts returns the charts of the releases of an application from a sequence to another, by sequence and name.
func (s *Store) ReleaseCharts(ctx context.Context, application string, from, to int64) (map[int64][]ReleaseChart, error) {
	all := map[int64][]ReleaseChart{}
	err := s.read.rows(ctx, `SELECT sequence, name, version, path, signed FROM release_charts WHERE application = $1 AND sequence >= $2
		AND sequence <= $3 ORDER BY sequence, name, version`, args{application, from, to}, func(scan func(...any) error) error {
		var of int64
		var c ReleaseChart
		err := scan(&of, &c.Name, &c.Version, &c.Path, &c.Signed)
		all[of] = append(all[of], c)
		return err
	})
	return all, err
}
