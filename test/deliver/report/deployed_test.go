package report_test

import "testing"

// C14: of two reported repositories the one that an application runs is the only one that is deployed, with the name of the application.
func TestC14(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	for i, repo := range []string{"demo/app", "demo/other"} {
		w.root.CreateRepository(t, repo).Push(t, "1", built(uint64(i+1), "linux", "amd64", 100))
		w.report(t, w.host()+"/"+repo+":1").want(t, 0)
	}
	image := w.host() + "/demo/app:1"
	run(t, nil, "report", "deployed", image, "--application", "shop", "--namespace", "production", "--data", w.Dir).
		want(t, 0, "shop runs "+image)
	all := w.list(t, "--deployed")
	if len(all) != 1 || all[0].ImageName != image || len(all[0].Applications) != 1 || all[0].Applications[0] != "shop" {
		t.Errorf("what is deployed: got %+v, want %s by shop", all, image)
	}
	run(t, nil, "report", "matrix", "--data", w.Dir).want(t, 0, "production", w.host()+"/demo/app", "1")
	run(t, nil, "report", "deployed", "--application", "shop", "--namespace", "production", "--data", w.Dir).want(t, 0, "shop runs no images")
	if all := w.list(t, "--deployed"); len(all) != 0 {
		t.Errorf("after shop runs nothing: got %+v, want nothing", all)
	}
}
