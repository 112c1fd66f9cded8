package meta

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// SearchKey is what a search is sorted by.
type SearchKey int

// The keys. Repositories have all of them, and images all but ByImages.
const (
	BySize SearchKey = iota
	ByImages
	ByPush
	ByPull
)

// SearchOrder is the order of a search. Equal keys are in the order of the ids of repositories and of digests.
type SearchOrder struct {
	Key       SearchKey
	Ascending bool
}

// SearchPlace is where a search in an order continues: behind this place.
type SearchPlace struct {
	Value      int64 // of the key
	Repository int64
	Digest     string // of an image
}

// Start returns the place before all that is found.
func (o SearchOrder) Start() SearchPlace {
	if o.Ascending {
		return SearchPlace{Value: -1}
	}
	return SearchPlace{Value: math.MaxInt64, Repository: math.MaxInt64}
}

// RegistryImage is an image of a registry.
type RegistryImage struct {
	Image
	Repository int64
	Name       string // of the repository; "" if that is deleted
	Place      SearchPlace
}

// The columns, and the selection, of images of a registry in an order.
const (
	searchedImage = imageColumns + `, i.repository,
		COALESCE((SELECT r.name FROM repositories r WHERE r.id = i.repository AND r.deleted_at <= 0), '')
		FROM images i WHERE i.registry = $1 AND i.deleted_at = 0 AND `
	searchedTags = ` FROM images i JOIN tags t ON t.repository = i.repository AND t.digest = i.digest
		WHERE i.registry = $1 AND i.deleted_at = 0 AND `
)

// The statements for images by each key, descending and ascending, and for the tags of the same images.
var (
	imagesInOrder = map[SearchOrder]string{
		{BySize, false}: `SELECT ` + searchedImage + `(i.size, i.repository, i.digest) < ($2, $3, $4)
			ORDER BY i.size DESC, i.repository DESC, i.digest DESC LIMIT $5`,
		{BySize, true}: `SELECT ` + searchedImage + `(i.size, i.repository, i.digest) > ($2, $3, $4)
			ORDER BY i.size, i.repository, i.digest LIMIT $5`,
		{ByPush, false}: `SELECT ` + searchedImage + `(i.pushed_at, i.repository, i.digest) < ($2, $3, $4)
			ORDER BY i.pushed_at DESC, i.repository DESC, i.digest DESC LIMIT $5`,
		{ByPush, true}: `SELECT ` + searchedImage + `(i.pushed_at, i.repository, i.digest) > ($2, $3, $4)
			ORDER BY i.pushed_at, i.repository, i.digest LIMIT $5`,
		{ByPull, false}: `SELECT ` + searchedImage + `(i.pulled_at, i.repository, i.digest) < ($2, $3, $4)
			ORDER BY i.pulled_at DESC, i.repository DESC, i.digest DESC LIMIT $5`,
		{ByPull, true}: `SELECT ` + searchedImage + `(i.pulled_at, i.repository, i.digest) > ($2, $3, $4)
			ORDER BY i.pulled_at, i.repository, i.digest LIMIT $5`,
	}
	tagsInOrder = map[SearchOrder]string{
		{BySize, false}: `SELECT i.repository, i.digest, t.tag` + searchedTags +
			`(i.size, i.repository, i.digest) < ($2, $3, $4) AND (i.size, i.repository, i.digest) >= ($5, $6, $7)
			ORDER BY i.size DESC, i.repository DESC, i.digest DESC`,
		{BySize, true}: `SELECT i.repository, i.digest, t.tag` + searchedTags +
			`(i.size, i.repository, i.digest) > ($2, $3, $4) AND (i.size, i.repository, i.digest) <= ($5, $6, $7)
			ORDER BY i.size, i.repository, i.digest`,
		{ByPush, false}: `SELECT i.repository, i.digest, t.tag` + searchedTags +
			`(i.pushed_at, i.repository, i.digest) < ($2, $3, $4) AND (i.pushed_at, i.repository, i.digest) >= ($5, $6, $7)
			ORDER BY i.pushed_at DESC, i.repository DESC, i.digest DESC`,
		{ByPush, true}: `SELECT i.repository, i.digest, t.tag` + searchedTags +
			`(i.pushed_at, i.repository, i.digest) > ($2, $3, $4) AND (i.pushed_at, i.repository, i.digest) <= ($5, $6, $7)
			ORDER BY i.pushed_at, i.repository, i.digest`,
		{ByPull, false}: `SELECT i.repository, i.digest, t.tag` + searchedTags +
			`(i.pulled_at, i.repository, i.digest) < ($2, $3, $4) AND (i.pulled_at, i.repository, i.digest) >= ($5, $6, $7)
			ORDER BY i.pulled_at DESC, i.repository DESC, i.digest DESC`,
		{ByPull, true}: `SELECT i.repository, i.digest, t.tag` + searchedTags +
			`(i.pulled_at, i.repository, i.digest) > ($2, $3, $4) AND (i.pulled_at, i.repository, i.digest) <= ($5, $6, $7)
			ORDER BY i.pulled_at, i.repository, i.digest`,
	}
)

// value returns the key of an image.
func (k SearchKey) value(im Image) int64 {
	switch k {
	case ByPush:
		return micros(im.PushedAt)
	case ByPull:
		return micros(im.PulledAt)
	}
	return im.Bytes
}

// SearchImages returns images of a registry with their tags, in an order: those behind a place, at most limit. The key of the order is
// BySize, ByPush or ByPull. Images of deleted repositories are among them, with the name "".
func (s *Store) SearchImages(ctx context.Context, reg name.Registry, o SearchOrder, after SearchPlace, limit int) ([]RegistryImage, error) {
	var all []RegistryImage
	from := args{reg.String(), after.Value, after.Repository, position(after.Digest)}
	err := s.read.rows(ctx, imagesInOrder[o], slices.Concat(from, args{limit}), func(scan func(...any) error) error {
		var one RegistryImage
		var err error
		if one.Image, err = scanImage(scan, &one.Repository, &one.Name); err == nil {
			one.Place = SearchPlace{o.Key.value(one.Image), one.Repository, one.Digest.String()}
			all = append(all, one)
		}
		return err
	})
	if err != nil || len(all) == 0 {
		return nil, err
	}
	type key struct {
		repository int64
		digest     string
	}
	index := make(map[key]*RegistryImage, len(all))
	for i := range all {
		index[key{all[i].Repository, all[i].Place.Digest}] = &all[i]
	}
	last := all[len(all)-1].Place
	err = s.read.rows(ctx, tagsInOrder[o], slices.Concat(from, args{last.Value, last.Repository, last.Digest}),
		func(scan func(...any) error) error {
			var k key
			var tag string
			err := scan(&k.repository, &k.digest, &tag)
			if im := index[k]; im != nil && err == nil { // otherwise it came into the range since then
				im.Tags = append(im.Tags, tag)
			}
			return err
		})
	for i := range all {
		slices.Sort(all[i].Tags)
	}
	return all, err
}

// RepositorySummary is what a search tells of a repository.
type RepositorySummary struct {
	ID       int64
	Name     string
	Images   int64
	Bytes    int64 // of the blobs that it holds, also of those that only deleted images use
	PushedAt int64 // when an image was pushed last, also one that is deleted, in microseconds; 0 for never
	PulledAt int64 // likewise
}

// Place returns the place of a repository in an order.
func (r *RepositorySummary) Place(o SearchOrder) SearchPlace {
	p := SearchPlace{Value: r.Bytes, Repository: r.ID}
	switch o.Key {
	case ByImages:
		p.Value = r.Images
	case ByPush:
		p.Value = r.PushedAt
	case ByPull:
		p.Value = r.PulledAt
	}
	return p
}

// before reports whether a place comes before another one in an order.
func (p SearchPlace) before(q SearchPlace, o SearchOrder) bool {
	c := cmp.Or(cmp.Compare(p.Value, q.Value), cmp.Compare(p.Repository, q.Repository))
	return c < 0 && o.Ascending || c > 0 && !o.Ascending
}

// RepositorySearch is a search of repositories in an order.
type RepositorySearch struct {
	Registry name.Registry
	Order    SearchOrder
	After    SearchPlace       // they are behind it
	Prefix   string            // of their names
	From     string            // sorts before all names with the prefix, and after all that sort before these
	Wanted   func(string) bool // whether a name is wanted
	Limit    int               // of what is returned
	Most     int               // of the repositories with the prefix
}

// SearchRepositories returns the first repositories of a search. It reads all repositories with the prefix, in steps of 1,000, and sorts
// them in memory: an index for each order costs each push more than it saves.
//
// Errors: fault.LimitExceeded (there are more than Most).
func (s *Store) SearchRepositories(ctx context.Context, q RepositorySearch) (best []RepositorySummary, err error) {
	const repositoryStep = 1000
	first := func() {
		slices.SortFunc(best, func(a, b RepositorySummary) int {
			if a.Place(q.Order).before(b.Place(q.Order), q.Order) {
				return -1
			}
			return 1
		})
		best = best[:min(q.Limit, len(best))]
	}
	for from, read := q.From, 0; ; {
		step, err := s.RepositoriesByName(ctx, q.Registry, from, repositoryStep)
		if err != nil {
			return nil, err
		}
		for _, r := range step {
			if !strings.HasPrefix(r.Name, q.Prefix) {
				first()
				return best, nil
			}
			if read++; read > q.Most {
				return nil, fault.LimitExceeded.New("more than %d repositories cannot be sorted: search with a longer repositoryPrefix", q.Most)
			}
			if q.Wanted(r.Name) && q.After.before(r.Place(q.Order), q.Order) {
				best = append(best, r)
			}
		}
		if len(best) > 2*q.Limit || len(step) < repositoryStep {
			first()
		}
		if len(step) < repositoryStep {
			return best, nil
		}
		from = step[len(step)-1].Name
	}
}

// orderedTotals has the columns, and the selection, of what repositories of a registry have.
const orderedTotals = `repository, images, bytes, pushed_at, pulled_at,
	COALESCE((SELECT r.name FROM repositories r WHERE r.id = repository_totals.repository AND r.deleted_at <= 0), '')
	FROM repository_totals WHERE account = $1 AND region = $2 AND `

// repositoriesInOrder are the statements for repositories by each key. Pushes and pulls have an index, by which they come in order; for the
// others the database sorts the totals of the registry.
var repositoriesInOrder = map[SearchOrder]string{
	{BySize, false}: `SELECT ` + orderedTotals + `(bytes, repository) < ($3, $4)
		ORDER BY bytes DESC, repository DESC LIMIT $5`,
	{BySize, true}: `SELECT ` + orderedTotals + `(bytes, repository) > ($3, $4)
		ORDER BY bytes, repository LIMIT $5`,
	{ByImages, false}: `SELECT ` + orderedTotals + `(images, repository) < ($3, $4)
		ORDER BY images DESC, repository DESC LIMIT $5`,
	{ByImages, true}: `SELECT ` + orderedTotals + `(images, repository) > ($3, $4)
		ORDER BY images, repository LIMIT $5`,
	{ByPush, false}: `SELECT ` + orderedTotals + `(pushed_at, repository) < ($3, $4)
		ORDER BY pushed_at DESC, repository DESC LIMIT $5`,
	{ByPush, true}: `SELECT ` + orderedTotals + `(pushed_at, repository) > ($3, $4)
		ORDER BY pushed_at, repository LIMIT $5`,
	{ByPull, false}: `SELECT ` + orderedTotals + `(pulled_at, repository) < ($3, $4)
		ORDER BY pulled_at DESC, repository DESC LIMIT $5`,
	{ByPull, true}: `SELECT ` + orderedTotals + `(pulled_at, repository) > ($3, $4)
		ORDER BY pulled_at, repository LIMIT $5`,
}

// RepositoriesInOrder returns repositories of a registry in an order: those behind a place, at most limit. Deleted ones are among them,
// with the name "".
func (s *Store) RepositoriesInOrder(ctx context.Context, reg name.Registry, o SearchOrder, after SearchPlace, limit int) (
	all []RepositorySummary, err error) {
	err = s.read.rows(ctx, repositoriesInOrder[o], args{reg.Account.String(), reg.Region.String(), after.Value, after.Repository, limit},
		func(scan func(...any) error) error {
			var r RepositorySummary
			err := scan(&r.ID, &r.Images, &r.Bytes, &r.PushedAt, &r.PulledAt, &r.Name)
			all = append(all, r)
			return err
		})
	return all, err
}

// RegistryTotals is what a registry has.
type RegistryTotals struct {
	Repositories int64
	Images       int64
	Bytes        int64 // of what its repositories hold, also deleted ones that can be restored
}

// RegistryTotals returns what a registry has.
func (s *Store) RegistryTotals(ctx context.Context, reg name.Registry) (t RegistryTotals, err error) {
	in := args{reg.Account.String(), reg.Region.String()}
	if err = s.read.row(ctx, `SELECT COUNT(*) FROM repositories WHERE account = $1 AND region = $2 AND deleted_at = 0`, in,
		&t.Repositories); err != nil {
		return t, err
	}
	err = s.read.row(ctx, `SELECT CAST(COALESCE(SUM(images), 0) AS BIGINT), CAST(COALESCE(SUM(bytes), 0) AS BIGINT)
		FROM repository_totals WHERE account = $1 AND region = $2`, in, &t.Images, &t.Bytes)
	return t, err
}

// RepositoriesByName returns repositories of a registry ordered by name: those behind a name, at most limit.
func (s *Store) RepositoriesByName(ctx context.Context, reg name.Registry, after string, limit int) ([]RepositorySummary, error) {
	return s.summaries(ctx, `SELECT r.id, r.name, t.images, t.bytes, t.pushed_at, t.pulled_at
		FROM repositories r JOIN repository_totals t ON t.repository = r.id
		WHERE r.account = $1 AND r.region = $2 AND r.name > $3 AND r.deleted_at = 0 ORDER BY r.name LIMIT $4`,
		args{reg.Account.String(), reg.Region.String(), position(after), limit})
}

func (s *Store) summaries(ctx context.Context, text string, in args) (all []RepositorySummary, err error) {
	err = s.read.rows(ctx, text, in, func(scan func(...any) error) error {
		var r RepositorySummary
		err := scan(&r.ID, &r.Name, &r.Images, &r.Bytes, &r.PushedAt, &r.PulledAt)
		all = append(all, r)
		return err
	})
	return all, err
}

// pushedTo records that an image was pushed to a repository.
func (t *tx) pushedTo(repository, at int64) error {
	_, err := t.exec(`UPDATE repository_totals SET pushed_at = $2 WHERE repository = $1 AND pushed_at < $2`, repository, at)
	return err
}
