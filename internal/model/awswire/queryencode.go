package awswire

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"time"
)

// EncodeQueryXML writes the answer of a query operation: OPResponse in the namespace, which contains OPResult with the
// members of out, and ResponseMetadata with the request id. out is a generated structure or a pointer to one; for nil
// or *Empty there is no OPResult. Characters that XML cannot express become U+FFFD.
//
// Errors: those of w.
func EncodeQueryXML(w io.Writer, op, namespace, requestID string, out any) error {
	x := xmlWriter{}
	x.open(op+"Response", namespace)
	if _, empty := out.(*Empty); out != nil && !empty {
		x.element(op+"Result", reflect.Indirect(reflect.ValueOf(out)))
	}
	x.open("ResponseMetadata", "")
	x.text("RequestId", requestID)
	x.close("ResponseMetadata")
	x.close(op + "Response")
	_, err := w.Write(x.Bytes())
	return err
}

// EncodeQueryError writes the error of a query operation. sender is true for an error of the client and false for an
// error of the server.
//
// Errors: those of w.
func EncodeQueryError(w io.Writer, namespace string, sender bool, code, message, requestID string) error {
	side := "Receiver"
	if sender {
		side = "Sender"
	}
	x := xmlWriter{}
	x.open("ErrorResponse", namespace)
	x.open("Error", "")
	x.text("Type", side)
	x.text("Code", code)
	x.text("Message", message)
	x.close("Error")
	x.text("RequestId", requestID)
	x.close("ErrorResponse")
	_, err := w.Write(x.Bytes())
	return err
}

// xmlWriter writes elements. Names are from models and are not escaped.
type xmlWriter struct{ bytes.Buffer }

func (x *xmlWriter) open(name, namespace string) {
	x.WriteString("<" + name)
	if namespace != "" {
		x.WriteString(` xmlns="`)
		x.escape(namespace)
		x.WriteByte('"')
	}
	x.WriteByte('>')
}

func (x *xmlWriter) close(name string) { x.WriteString("</" + name + ">") }

func (x *xmlWriter) text(name, s string) {
	x.open(name, "")
	x.escape(s)
	x.close(name)
}

func (x *xmlWriter) escape(s string) {
	_ = xml.EscapeText(x, []byte(s)) // writing to a buffer does not fail
}

func (x *xmlWriter) element(name string, v reflect.Value) {
	switch v.Type() {
	case timeType:
		x.text(name, v.Interface().(Time).UTC().Truncate(time.Millisecond).Format(isoFormat))
		return
	case blobType:
		x.text(name, base64.StdEncoding.EncodeToString(v.Bytes()))
		return
	}
	switch v.Kind() {
	case reflect.String:
		x.text(name, v.String())
	case reflect.Bool:
		x.text(name, strconv.FormatBool(v.Bool()))
	case reflect.Int32, reflect.Int64:
		x.text(name, strconv.FormatInt(v.Int(), 10))
	case reflect.Float64:
		x.text(name, strconv.FormatFloat(v.Float(), 'g', -1, 64))
	case reflect.Struct:
		x.open(name, "")
		_ = eachShown(v, func(name string, m reflect.Value) error {
			x.element(name, m)
			return nil
		})
		x.close(name)
	case reflect.Slice:
		x.open(name, "")
		for i := range v.Len() {
			x.element("member", v.Index(i))
		}
		x.close(name)
	case reflect.Map:
		x.open(name, "")
		for _, k := range sortedMapKeys(v) {
			x.open("entry", "")
			x.text("key", k.String())
			x.element("value", v.MapIndex(k))
			x.close("entry")
		}
		x.close(name)
	default:
		panic(fmt.Sprintf("awswire: no XML form for %s", v.Type()))
	}
}
