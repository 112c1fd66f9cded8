package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

const licenceList = "docs/design/licences.md"

// permitted are the licences of modules that may be linked into a program under Apache-2.0.
var permitted = []string{"Apache-2.0", "MIT", "BSD-2", "BSD-3", "ISC", "MIT and Apache-2.0", "BSD-3 and Apache-2.0",
	"MIT and BSD-3 and Apache-2.0"}

// mixed are modules with code of several licences, which each file names: those of the files that are linked count.
var mixed = []string{"github.com/cyphar/filepath-securejoin"}

// platforms are those that ecrin is built for.
var platforms = []string{"linux", "darwin"}

// licences returns the modules linked into ecrin that are not in the list, those in the list that are not linked, and those
// whose licence is another one than the list says or is not permitted.
func licences() ([]string, error) {
	listed, err := table(licenceList, 2)
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for _, system := range platforms {
		lines, err := run([]string{"GOOS=" + system, "CGO_ENABLED=0"}, "go", "list", "-deps", "-f",
			`{{$p := .}}{{with .Module}}{{if not .Main}}{{.Path}}={{.Dir}}={{$p.Dir}}={{join $p.GoFiles ","}}{{end}}{{end}}`, "./cmd/ecrin")
		if err != nil {
			return nil, err
		}
		for _, l := range lines {
			f := strings.SplitN(l, "=", 4)
			path, licence := f[0], ""
			if len(f) == 4 && slices.Contains(mixed, path) {
				licence, err = licenceOfFiles(f[2], strings.Split(f[3], ","))
			} else {
				licence, err = licenceIn(f[1])
			}
			if err != nil {
				return nil, fmt.Errorf("reading the licence of %s: %w", path, err)
			}
			if had, ok := found[path]; ok && had != licence {
				licence = had + " and " + licence
			}
			found[path] = licence
		}
	}
	return compareLicences(found, listed), nil
}

func compareLicences(found map[string]string, listed [][]string) (problems []string) {
	rows := map[string]string{}
	for _, row := range listed {
		rows[row[0]] = row[1]
		if _, ok := found[row[0]]; !ok {
			problems = append(problems, licenceList+" has "+row[0]+", which is not linked into ecrin: remove the row")
		}
	}
	for path, licence := range found {
		switch said, ok := rows[path]; {
		case !slices.Contains(permitted, licence):
			problems = append(problems, fmt.Sprintf("%s has the licence %q, which is not one of %s", path, licence,
				strings.Join(permitted, ", ")))
		case !ok:
			problems = append(problems, fmt.Sprintf("%s lacks %s, which is linked into ecrin: add it with the licence %s",
				licenceList, path, licence))
		case said != licence:
			problems = append(problems, fmt.Sprintf("%s: %s is listed as %s and has %s", licenceList, path, said, licence))
		}
	}
	slices.Sort(problems)
	return problems
}

// licenceOfFiles returns the licence that all files of a package name; "" if they name none that is known, or several.
func licenceOfFiles(dir string, files []string) (string, error) {
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			return "", err
		}
		if line, _, _ := strings.Cut(string(text), "\n"); strings.TrimSpace(line) != "// SPDX-License-Identifier: BSD-3-Clause" {
			return "", nil
		}
	}
	return "BSD-3", nil
}

// licenceIn returns the licence of the module in a folder of the module cache; "" if it has no file with one.
func licenceIn(dir string) (string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		switch strings.ToUpper(strings.TrimSuffix(strings.TrimSuffix(e.Name(), ".md"), ".txt")) {
		case "LICENSE", "LICENCE", "COPYING", "LICENSE.MIT":
			text, err := os.ReadFile(filepath.Join(dir, e.Name()))
			return licenceOf(string(text)), err
		}
	}
	return "", nil
}

var space = regexp.MustCompile(`\s+`)

// licenceOf returns the name of the licence in a text; "" if it is none of those that licences knows. A text of several
// licences joins them by "and".
func licenceOf(text string) string {
	text = space.ReplaceAllString(text, " ")
	has := func(s string) bool { return strings.Contains(text, s) }
	for _, foreign := range []string{"GNU GENERAL PUBLIC", "GNU LESSER", "GNU AFFERO", "Mozilla Public License", "Commons Clause",
		"Business Source", "Server Side Public", "non-commercial", "NonCommercial"} {
		if strings.Contains(strings.ToLower(text), strings.ToLower(foreign)) {
			return foreign
		}
	}
	var all []string
	if has("Permission is hereby granted, free of charge, to any person obtaining a copy") {
		all = append(all, "MIT")
	}
	if has("Permission to use, copy, modify, and/or distribute this software") ||
		has("Permission to use, copy, modify, and distribute this software for any") {
		all = append(all, "ISC")
	}
	if has("Redistribution and use in source and binary forms") {
		if has("the names of its contributors") || has("Neither the name") || has("nor the names") {
			all = append(all, "BSD-3")
		} else {
			all = append(all, "BSD-2")
		}
	}
	if has("Apache License, Version 2.0") || has("Apache License Version 2.0") {
		all = append(all, "Apache-2.0")
	}
	return strings.Join(all, " and ")
}
