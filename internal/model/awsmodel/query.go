package awsmodel

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

// node is an XML element.
type node struct {
	name  xml.Name
	text  string
	nodes []*node
}

// query checks the envelope of an XML answer, and the output in it.
func (c *checker) query(op *Operation, body []byte) {
	root, err := parseXML(body)
	if err != nil {
		c.fail("body", "%v", err)
		return
	}
	if want := op.Name + "Response"; root.name.Local != want || root.name.Space != c.m.Metadata.XMLNamespace {
		c.fail("body", "root is <%s xmlns=%q>, want <%s xmlns=%q>", root.name.Local, root.name.Space, want, c.m.Metadata.XMLNamespace)
	}
	var result, meta *node
	for _, n := range root.nodes {
		switch n.name.Local {
		case op.ResultWrapper:
			result = n
		case "ResponseMetadata":
			meta = n
		default:
			c.fail("body", "element %s is not allowed here", n.name.Local)
		}
	}
	if meta == nil || len(meta.nodes) != 1 || meta.nodes[0].name.Local != "RequestId" || meta.nodes[0].text == "" {
		c.fail("body", "ResponseMetadata with a RequestId is missing")
	}
	switch {
	case op.Output == "" && result != nil:
		c.fail("body", "the operation has no result")
	case op.Output != "" && result == nil:
		c.fail("body", "%s is missing", op.ResultWrapper)
	case op.Output != "":
		at := op.ResultWrapper
		c.value(at, c.m.Shapes[op.Output], c.typed(at, c.m.Shapes[op.Output], result))
	}
}

// typed converts an element to the form that value checks, by its shape.
func (c *checker) typed(at string, s *Shape, n *node) any {
	switch s.Type {
	case "structure":
		o := object{}
		for _, m := range n.nodes {
			if _, twice := o[m.name.Local]; twice {
				c.fail(at, "member %s is given twice", m.name.Local)
			}
			o[m.name.Local] = text(m.text)
			for _, member := range s.Members {
				if member.Name == m.name.Local {
					o[m.name.Local] = c.typed(at+"."+member.Name, c.m.Shapes[member.Shape], m)
				}
			}
		}
		return o
	case "list":
		list := []any{}
		for _, m := range n.nodes {
			if m.name.Local != "member" {
				c.fail(at, "want <member>, got <%s>", m.name.Local)
			}
			list = append(list, c.typed(at, c.m.Shapes[s.Member.Shape], m))
		}
		return list
	case "map":
		o := object{}
		for _, e := range n.nodes {
			if e.name.Local != "entry" || len(e.nodes) != 2 || e.nodes[0].name.Local != "key" || e.nodes[1].name.Local != "value" {
				c.fail(at, "want <entry> with <key> and <value>, got <%s>", e.name.Local)
				continue
			}
			o[e.nodes[0].text] = c.typed(at, c.m.Shapes[s.Value.Shape], e.nodes[1])
		}
		return o
	}
	if len(n.nodes) > 0 {
		c.fail(at, "want a value, got elements")
	}
	return text(n.text)
}

func parseXML(body []byte) (*node, error) {
	d := xml.NewDecoder(bytes.NewReader(body))
	stack := []*node{{}}
	for {
		t, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		top := stack[len(stack)-1]
		switch t := t.(type) {
		case xml.StartElement:
			n := &node{name: t.Name}
			top.nodes = append(top.nodes, n)
			stack = append(stack, n)
		case xml.EndElement:
			stack = stack[:len(stack)-1]
		case xml.CharData:
			top.text += string(t)
		}
	}
	if len(stack) != 1 || len(stack[0].nodes) != 1 || strings.TrimSpace(stack[0].text) != "" {
		return nil, fmt.Errorf("want one element")
	}
	return stack[0].nodes[0], nil
}
