package formats

import (
	"math"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// The canonical protobuf of §1.2: a message is read from, and written to, a struct whose fields have their numbers in a
// `pb` tag. What is not in the one encoding of its value is refused while it is read, so nothing is encoded again.

const malformed = Refusal("malformed")

type field struct {
	number int
	index  int
	oneof  string
	// May be present with its default: what is optional, and the members of a oneof.
	presence bool
}

type layout struct {
	fields   []field // ascending
	byNumber map[int]field
}

var layouts sync.Map // of reflect.Type to *layout

func layoutOf(t reflect.Type) *layout {
	if known, ok := layouts.Load(t); ok {
		return known.(*layout)
	}
	l := &layout{byNumber: map[int]field{}}
	for i := 0; i < t.NumField(); i++ {
		parts := strings.Split(t.Field(i).Tag.Get("pb"), ",")
		number, err := strconv.Atoi(parts[0])
		if err != nil {
			panic("no field number in " + t.Name())
		}
		f := field{number: number, index: i}
		for _, part := range parts[1:] {
			f.presence = true
			if oneof := strings.TrimPrefix(part, "oneof="); oneof != part {
				f.oneof = oneof
			}
		}
		l.fields = append(l.fields, f)
		l.byNumber[number] = f
	}
	layouts.Store(t, l)
	return l
}

func isBytes(t reflect.Type) bool {
	return t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8
}

func isNumber(t reflect.Type) bool {
	return t.Kind() == reflect.Uint32 || t.Kind() == reflect.Uint64 || t.Kind() == reflect.Bool
}

func isMessage(t reflect.Type) bool {
	return t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Struct
}

const (
	wireVarint = 0
	wireBytes  = 2
)

func wireTypeOf(t reflect.Type) uint64 {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if isNumber(t) {
		return wireVarint
	}
	return wireBytes
}

// decode reads a message that is all of data. The slices of bytes that it makes are data's.
func decode[T any](data []byte) (*T, error) {
	out := new(T)
	if !decodeInto(data, reflect.ValueOf(out).Elem()) {
		return nil, malformed
	}
	return out, nil
}

func decodeInto(data []byte, out reflect.Value) bool {
	l := layoutOf(out.Type())
	last := 0
	chosen := map[string]bool{}
	for len(data) > 0 {
		key, rest, ok := readVarint(data)
		if !ok || key>>3 > math.MaxInt32 {
			return false
		}
		f, known := l.byNumber[int(key>>3)]
		if !known {
			return false
		}
		v := out.Field(f.index)
		t := v.Type()
		repeated := t.Kind() == reflect.Slice && !isBytes(t)
		packed := repeated && isNumber(t.Elem())
		if f.number < last || f.number == last && (!repeated || packed) {
			return false
		}
		last = f.number
		if f.oneof != "" {
			if chosen[f.oneof] {
				return false
			}
			chosen[f.oneof] = true
		}
		if key&7 != wireTypeOf(t) {
			return false
		}
		if wireTypeOf(t) == wireVarint {
			data, ok = readNumber(rest, v, f.presence)
			if !ok {
				return false
			}
			continue
		}
		length, rest, ok := readVarint(rest)
		if !ok || length > uint64(len(rest)) {
			return false
		}
		body := rest[:length:length]
		data = rest[length:]
		switch {
		case packed:
			ok = readPacked(body, v)
		case repeated:
			element := reflect.New(t.Elem()).Elem()
			ok = readBytes(body, element, true)
			v.Set(reflect.Append(v, element))
		default:
			ok = readBytes(body, v, f.presence)
		}
		if !ok {
			return false
		}
	}
	return true
}

func readVarint(data []byte) (uint64, []byte, bool) {
	var value uint64
	for i, b := range data {
		if i == 9 && b > 1 || i > 0 && b == 0 {
			return 0, nil, false // beyond 64 bits, or not of the least length
		}
		value |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			return value, data[i+1:], true
		}
	}
	return 0, nil, false
}

func readNumber(data []byte, v reflect.Value, presence bool) ([]byte, bool) {
	value, rest, ok := readVarint(data)
	if !ok || value == 0 && !presence {
		return nil, false
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	if v.Kind() == reflect.Bool {
		v.SetBool(true)
		return rest, value == 1
	}
	if v.OverflowUint(value) {
		return nil, false
	}
	v.SetUint(value)
	return rest, true
}

func readPacked(data []byte, v reflect.Value) bool {
	if len(data) == 0 {
		return false
	}
	for len(data) > 0 {
		element := reflect.New(v.Type().Elem()).Elem()
		rest, ok := readNumber(data, element, true)
		if !ok {
			return false
		}
		v.Set(reflect.Append(v, element))
		data = rest
	}
	return true
}

func readBytes(data []byte, v reflect.Value, presence bool) bool {
	if isMessage(v.Type()) {
		v.Set(reflect.New(v.Type().Elem()))
		return decodeInto(data, v.Elem())
	}
	if len(data) == 0 && !presence {
		return false
	}
	if isBytes(v.Type()) {
		v.SetBytes(data)
		return true
	}
	if !utf8.Valid(data) {
		return false
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	v.SetString(string(data))
	return true
}

// encode writes a message, in its one encoding.
func encode(message any) []byte { return encodeFrom(reflect.ValueOf(message).Elem()) }

func encodeFrom(in reflect.Value) []byte {
	var out []byte
	for _, f := range layoutOf(in.Type()).fields {
		v := in.Field(f.index)
		t := v.Type()
		key := uint64(f.number)<<3 | wireTypeOf(t)
		if t.Kind() == reflect.Slice && !isBytes(t) {
			if isNumber(t.Elem()) {
				var packed []byte
				for i := 0; i < v.Len(); i++ {
					packed = appendVarint(packed, v.Index(i).Uint())
				}
				if len(packed) > 0 {
					out = appendBytes(out, key, packed)
				}
				continue
			}
			for i := 0; i < v.Len(); i++ {
				out = appendBytes(out, key, encodeBytes(v.Index(i)))
			}
			continue
		}
		if f.presence || isMessage(t) {
			if v.IsNil() {
				continue
			}
		} else if isBytes(t) && v.Len() == 0 || !isBytes(t) && v.IsZero() {
			continue
		}
		if t.Kind() == reflect.Pointer && !isMessage(t) {
			v = v.Elem()
		}
		if v.Kind() == reflect.Bool {
			out = appendVarint(appendVarint(out, key), 1)
		} else if isNumber(v.Type()) {
			out = appendVarint(appendVarint(out, key), v.Uint())
		} else {
			out = appendBytes(out, key, encodeBytes(v))
		}
	}
	return out
}

func encodeBytes(v reflect.Value) []byte {
	switch {
	case isMessage(v.Type()):
		return encodeFrom(v.Elem())
	case isBytes(v.Type()):
		return v.Bytes()
	default:
		return []byte(v.String())
	}
}

func appendVarint(out []byte, value uint64) []byte {
	for value >= 0x80 {
		out = append(out, byte(value)|0x80)
		value >>= 7
	}
	return append(out, byte(value))
}

func appendBytes(out []byte, key uint64, data []byte) []byte {
	return append(appendVarint(appendVarint(out, key), uint64(len(data))), data...)
}
