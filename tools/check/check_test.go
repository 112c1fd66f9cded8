package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCompareDeadCode(t *testing.T) {
	t.Parallel()
	found := []string{module + "internal/a/b.F", module + "internal/a/b.T.M", module + "internal/a/b.T.N", module + "tools/x.G"}
	listed := [][]string{{"a/b.F", "why"}, {"a/b.T.*", "why"}, {"a/b.Gone", "why"}, {"a/b.U.*", "why"}}
	want := []string{
		"no program calls tools/x.G: remove it, move it into a test, or give the reason in docs/design/dead-code.md",
		"docs/design/dead-code.md has a/b.Gone, which is called or does not exist: remove the row",
		"docs/design/dead-code.md has a/b.U.*, which is called or does not exist: remove the row",
	}
	if diff := cmp.Diff(want, compareDeadCode(found, listed)); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestCompareLicences(t *testing.T) {
	t.Parallel()
	found := map[string]string{"m/good": "MIT", "m/new": "ISC", "m/other": "BSD-3", "m/copyleft": "GNU LESSER", "m/none": ""}
	listed := [][]string{{"m/good", "MIT"}, {"m/other", "MIT"}, {"m/copyleft", "GNU LESSER"}, {"m/none", "MIT"}, {"m/gone", "MIT"}}
	got := strings.Join(compareLicences(found, listed), "\n")
	for _, want := range []string{
		"docs/design/licences.md has m/gone, which is not linked", "docs/design/licences.md lacks m/new",
		"m/other is listed as MIT and has BSD-3", `m/copyleft has the licence "GNU LESSER"`, `m/none has the licence ""`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got problems\n%s\nwant one with %q", got, want)
		}
	}
	if strings.Contains(got, "m/good") || strings.Count(got, "\n") != 4 {
		t.Errorf("got problems\n%s\nwant 5, none of m/good", got)
	}
}

func TestLicenceOfFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for file, text := range map[string]string{"a.go": "// SPDX-License-Identifier: BSD-3-Clause\n\npackage a\n",
		"b.go": "// SPDX-License-Identifier: MPL-2.0\n\npackage a\n", "c.go": "package a\n"} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for want, files := range map[string][]string{"BSD-3": {"a.go"}, "": {"a.go", "b.go"}} {
		if got, err := licenceOfFiles(dir, files); got != want || err != nil {
			t.Errorf("%v: got %q and %v, want %q", files, got, err, want)
		}
	}
	if got, err := licenceOfFiles(dir, []string{"c.go"}); got != "" || err != nil {
		t.Errorf("a file without licence: got %q and %v, want none", got, err)
	}
}

func TestLicenceOf(t *testing.T) {
	t.Parallel()
	const (
		mit = "Permission is hereby granted, free of\ncharge, to any person obtaining a copy of this"
		bsd = "Redistribution and use in source and binary forms, with or without"
		apl = "Apache License\n Version 2.0, January 2004"
	)
	for text, want := range map[string]string{
		"MIT License\n" + mit: "MIT", bsd: "BSD-2", bsd + "\nNeither the name of the": "BSD-3", apl: "Apache-2.0",
		mit + "\n" + apl: "MIT and Apache-2.0",
		"Permission to use, copy, modify, and distribute this software for any purpose": "ISC",
		"GNU General Public License, version 3":                                         "GNU GENERAL PUBLIC",
		mit + " Commons Clause":                                                         "Commons Clause", "all rights reserved": "", "": "",
	} {
		if got := licenceOf(text); got != want {
			t.Errorf("licenceOf(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestLicenceIn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if got, err := licenceIn(dir); got != "" || err != nil {
		t.Errorf("a module without a licence: got %q, %v", got, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "COPYING"), []byte("Apache License, Version 2.0"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := licenceIn(dir); got != "Apache-2.0" || err != nil {
		t.Errorf("got %q, %v, want Apache-2.0", got, err)
	}
	if _, err := licenceIn(filepath.Join(dir, "none")); err == nil {
		t.Error("a module that is not in the cache: got no error")
	}
}

func TestRows(t *testing.T) {
	t.Parallel()
	got, err := rows("p", "# Title\n\n| a | b |\n| --- | --- |\n| `x.*` | why `y` |\n| z | w |\n\n| other | table |\n", 2)
	if diff := cmp.Diff([][]string{{"x.*", "why y"}, {"z", "w"}}, got); diff != "" || err != nil {
		t.Errorf("rows (-want +got), %v:\n%s", err, diff)
	}
	for _, bad := range []string{"", "no table", "| a | b |\n", "| a |\n| --- |\n", "| a | b |\n| --- | --- |\n| x | |\n"} {
		if _, err := rows("p", bad, 2); err == nil {
			t.Errorf("rows(%q): no error", bad)
		}
	}
}
